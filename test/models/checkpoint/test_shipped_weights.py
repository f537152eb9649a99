# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Shipped weights: their metadata and their accuracy."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('safetensors')

import dataclasses
import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest
import rclpy
import torch
import yaml
from rclpy.parameter import Parameter as RosParameter
from safetensors.torch import load_file

from experiments.ablation_modes import CONFIG as FUSION
from experiments.ablation_modes import EVAL_SEED, ClassAP, ModeDetector, detect
from tiny_bev_ros.detector import Detector
from tiny_bev_ros.models.checkpoint.metadata import load_weights, read_metadata
from tiny_bev_ros.models.heads.refinement import REFINEMENT
from tiny_bev_ros.nodes.model_factory import make_grid
from tiny_bev_ros.nodes.pipeline_node import PipelineNode
from tiny_bev_ros.resources import CAMERA_WEIGHTS, CHECKPOINTS, WEIGHTS, weights_file
from tiny_bev_ros.training.evaluation import simulated_eval_frame
from tiny_bev_ros.training.evaluation_run import evaluate
from tiny_bev_ros.training.kitti import KittiFolder
from tiny_bev_ros.training.kitti_eval import kitti_eval_frames
from tiny_bev_ros.training.second_stage_config import SecondStageConfig
from tiny_bev_ros.training.simulated_camera import GRID, simulate_camera_frame
from tiny_bev_ros.training.simulated_lidar import simulate_lidar_frame
from tiny_bev_ros.training.training_config import TrainConfig, from_dict, read_config

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / 'config'
STREET = weights_file('street')


# Length of a run: the shipped weights continue former ones in a shorter run than one from scratch.
LENGTH = ('steps', 'learning_rate', 'warmup_fraction', 'seed', 'save_every')


@pytest.mark.parametrize('name', WEIGHTS)
def test_metadata_hold_the_training(name):
    path = Path(weights_file(name))
    assert path.stat().st_size < 8 * 2**20
    metadata = read_metadata(path)
    origin = metadata.origin
    assert metadata.levelled
    assert re.fullmatch(r'train --config \S+ --start-from street', origin['command'])
    assert origin['calibration']['head'] == REFINEMENT
    for made in (origin, origin['second_stage']):
        assert 'dirty' not in made['commit']
    config = read_config(CONFIG / f'training/{name}.yaml')
    made = from_dict(TrainConfig, origin['config'])
    length = {key: getattr(made, key) for key in LENGTH}
    assert replace(config, **length, second_stage=made.second_stage) == made
    second = origin['second_stage']['config']['second_stage']
    assert from_dict(SecondStageConfig, second) == config.second_stage


@pytest.mark.parametrize('name', [*WEIGHTS, CAMERA_WEIGHTS])
def test_the_model_card_has_their_digest(name):
    digest = hashlib.sha256(Path(weights_file(name)).read_bytes()).hexdigest()
    assert f'`{name}.safetensors` `{digest}`' in (ROOT / 'docs/model_card.md').read_text()


@pytest.mark.parametrize('name', WEIGHTS)
def test_the_parameters_of_nodes_fit_the_metadata(name):
    (values,) = yaml.safe_load((CONFIG / f'weights/{name}.yaml').read_text()).values()
    values = values['ros__parameters']
    metadata = read_metadata(weights_file(name))
    network = metadata.network
    assert values['grid']['resolution'] == metadata.cell
    assert tuple(values['grid']['z_range']) == metadata.z_range
    assert values['backbone'] == {
        'name': network['backbone'],
        'in_channels': network['pfn_channels'],
        'mid_channels': network['mid_channels'],
        'out_channels': network['out_channels'],
    }
    assert values['pfn']['out_channels'] == network['pfn_channels']
    # The second stage is switched by detection.refine_boxes instead.
    heads = [head for head in network['heads'] if head != REFINEMENT]
    assert values['heads']['names'] == heads


def test_metadata_of_the_fusion_demo_hold_the_training():
    path = Path(weights_file(CAMERA_WEIGHTS))
    assert path.stat().st_size < 8 * 2**20
    metadata = read_metadata(path)
    assert metadata.origin['command'] == 'fusion_proof --modes fused --seeds 0'
    assert 'dirty' not in metadata.origin['commit']
    # The configuration of training makes a network of these very parts; a file without the
    # calibration of scores has the identity.
    assert (metadata.origin['steps'], metadata.origin['frames']) == (FUSION.steps, FUSION.frames)
    network, weights = ModeDetector('fused').network.state_dict(), load_file(path)
    assert {key: value.shape for key, value in weights.items()} == {
        key: value.shape for key, value in network.items() if '.calibration.' not in key
    }
    assert FUSION.crop.ahead() == GRID
    (values,) = yaml.safe_load((CONFIG / f'weights/{CAMERA_WEIGHTS}.yaml').read_text()).values()
    grid = make_grid(flat(values['ros__parameters']))
    assert grid == GRID
    assert (metadata.cell, metadata.z_range) == (GRID.resolution, GRID.z_range)


def flat(values, prefix=''):
    found = {}
    for key, value in values.items():
        more = flat(value, f'{prefix}{key}.') if isinstance(value, dict) else {prefix + key: value}
        found |= more
    return found


def test_a_camera_adds_to_a_lidar_and_may_be_unplugged():
    """Accuracy on frames outside the training; docs/cameras.md has it for 300 frames."""
    model = ModeDetector('fused').eval()
    model.network.load_state_dict(load_file(weights_file(CAMERA_WEIGHTS)))
    fused, unplugged = ClassAP(), ClassAP()
    for seed in range(2 * EVAL_SEED, 2 * EVAL_SEED + 16):
        frame = simulate_camera_frame(seed)
        fused.add(frame.lidar, detect(model, frame))
        unplugged.add(frame.lidar, detect(model, frame, unplugged=True))
    assert fused.mean() > unplugged.mean() + 0.08
    # Trained on streets of less variety than those of now.
    assert unplugged.mean() > 0.3


def test_intensity_is_ignored():
    network, _ = load_weights(STREET)
    assert (network.pfn.linear.weight[:, 3] == 0).all()


def test_accuracy_on_unseen_streets():
    """Accuracy on frames of another seed and of a sensor that is not in the training."""
    torch.set_num_threads(2)
    detector = Detector(STREET, (-51.2, 51.2), (-51.2, 51.2))
    frames = [
        simulated_eval_frame(str(seed), simulate_lidar_frame(seed, ('vlp32',)))
        for seed in range(8)
    ]
    score = evaluate(detector, frames, len(frames)).score
    found = {
        (kind, least): ranking.average_precision()
        for (_, kind, view, least), ranking in score.rankings.items()
        if view == 'bev'
    }
    assert found['vehicle', 0.5] > 0.86
    assert found['pedestrian', 0.25] > 0.68
    assert score.drivable_iou > 0.78


def test_real_streets(data_dir):
    """Evaluation of docs/model_card.md, with a margin for other machines."""
    detector = Detector(STREET, (0.0, 51.2), (-25.6, 25.6))
    folder = KittiFolder(data_dir / 'kitti')
    score = evaluate(detector, list(kitti_eval_frames(folder)), len(folder)).score
    for least, enough in ((0.5, 0.58), (0.7, 0.45)):
        ranking = score.rankings['visible', 'vehicle', 'bev', least]
        assert ranking.positives == 26
        assert ranking.average_precision() > enough


def test_a_node_refuses_a_grid_of_other_cells():
    context = rclpy.Context()
    context.init()
    metadata = read_metadata(STREET)
    values = {
        **dict.fromkeys(CHECKPOINTS, STREET),
        'grid.resolution': 0.16,
        'grid.x_range': [0.0, 16.0],
        'grid.y_range': [-8.0, 8.0],
        'grid.z_range': list(metadata.z_range),
        'pfn.out_channels': 32,
        'backbone.name': 'fpn',
        'backbone.in_channels': 32,
        'backbone.mid_channels': 48,
        'backbone.out_channels': 64,
        'device': 'cpu',
    }
    overrides = [RosParameter(name, value=value) for name, value in values.items()]
    node = PipelineNode(context=context, parameter_overrides=overrides)
    try:
        assert not node.start()
        assert 'parameter grid.resolution is 0.16' in node.fault
        assert 'expected 0.2 and [-3, 2]' in node.fault
        node.set_parameters([RosParameter('grid.resolution', value=0.2)])
        assert node.start(), node.fault
    finally:
        node.destroy_node()
        context.try_shutdown()


def test_configurations_survive_json():
    config = TrainConfig()
    assert from_dict(TrainConfig, dataclasses.asdict(config)) == config
