# SPDX-License-Identifier: Apache-2.0
"""The weights that come with the package: what they say of themselves, and what they find."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('safetensors')

import dataclasses
from pathlib import Path

import pytest
import rclpy
import torch
import yaml
from rclpy.parameter import Parameter as RosParameter
from safetensors.torch import load_file

from tiny_bev_ros.detector import Detector
from tiny_bev_ros.models.checkpoint.metadata import load_weights, read_metadata
from tiny_bev_ros.nodes.model_factory import make_grid
from tiny_bev_ros.nodes.pipeline_node import PipelineNode
from tiny_bev_ros.resources import CHECKPOINTS, MARKED, WEIGHTS, weights_file
from tiny_bev_ros.training.evaluate import evaluate
from tiny_bev_ros.training.evaluation import kitti_eval_frames, simulated_eval_frame
from tiny_bev_ros.training.fusion_training import EXAM_SEED, ClassAP, build_network, detect
from tiny_bev_ros.training.kitti import KittiFolder
from tiny_bev_ros.training.simulated import simulated
from tiny_bev_ros.training.simulated_camera import GRID, sighted
from tiny_bev_ros.training.training_config import TrainConfig, from_dict, read_config

CONFIG = Path(__file__).resolve().parents[3] / 'config'
STREET = weights_file('street')


@pytest.mark.parametrize('name', WEIGHTS)
def test_they_say_how_they_were_made(name):
    path = Path(weights_file(name))
    assert path.stat().st_size < 8 * 2**20
    origin = read_metadata(path).origin
    assert origin['command'] == f'train --config train_{name}.yaml'
    assert 'dirty' not in origin['commit']
    made = from_dict(TrainConfig, origin['config'])
    assert made == read_config(CONFIG / f'train_{name}.yaml')


@pytest.mark.parametrize('name', WEIGHTS)
def test_their_parameters_fit_them(name):
    (values,) = yaml.safe_load((CONFIG / f'weights/{name}.yaml').read_text()).values()
    values = values['ros__parameters']
    said = read_metadata(weights_file(name))
    network = said.network
    assert values['grid']['resolution'] == said.cell
    assert tuple(values['grid']['z_range']) == said.z_range
    assert values['backbone'] == {
        'name': network['backbone'],
        'in_channels': network['pfn_channels'],
        'mid_channels': network['mid_channels'],
        'out_channels': network['out_channels'],
    }
    assert values['pfn']['out_channels'] == network['pfn_channels']
    assert values['heads']['names'] == list(network['heads'])


def test_those_of_the_demo_with_a_camera_say_how_they_were_made():
    path = Path(weights_file(MARKED))
    assert path.stat().st_size < 8 * 2**20
    said = read_metadata(path)
    assert said.origin['command'] == 'fusion_proof --modes fused --seeds 0'
    assert 'dirty' not in said.origin['commit']
    (values,) = yaml.safe_load((CONFIG / f'weights/{MARKED}.yaml').read_text()).values()
    grid = make_grid(flat(values['ros__parameters']))
    assert grid == GRID
    assert (said.cell, said.z_range) == (GRID.resolution, GRID.z_range)


def flat(values, prefix=''):
    found = {}
    for key, value in values.items():
        more = flat(value, f'{prefix}{key}.') if isinstance(value, dict) else {prefix + key: value}
        found |= more
    return found


def test_a_camera_tells_what_a_lidar_cannot_and_may_be_unplugged():
    """On frames that they have not seen; docs/fusion.md has 300 of them."""
    network = build_network('fused', 0)
    network.load_state_dict(load_file(weights_file(MARKED)))
    network.eval()
    seeing, blind = ClassAP(), ClassAP()
    for seed in range(2 * EXAM_SEED, 2 * EXAM_SEED + 16):
        sight = sighted(seed)
        seeing.add(sight.frame, detect(network, sight, 'fused'))
        blind.add(sight.frame, detect(network, sight, 'fused', unplugged=True))
    assert seeing.mean() > blind.mean() + 0.08
    assert blind.mean() > 0.45


def test_intensity_is_not_looked_at():
    network, _ = load_weights(STREET)
    assert (network.pfn.linear.weight[:, 3] == 0).all()


def test_streets_that_they_have_not_seen():
    """Another seed, and a sensor that was not trained with."""
    torch.set_num_threads(2)
    detector = Detector(STREET, (-51.2, 51.2), (-51.2, 51.2))
    exams = [simulated_eval_frame(str(seed), simulated(seed, ('vlp32',))) for seed in range(8)]
    score = evaluate(detector, exams, len(exams)).score
    found = {
        (kind, least): ranking.average_precision()
        for (_, kind, view, least), ranking in score.rankings.items()
        if view == 'bev'
    }
    assert found['vehicle', 0.5] > 0.82
    assert found['pedestrian', 0.25] > 0.55
    assert score.drivable_iou > 0.78


def test_real_streets(data_dir):
    """The exam of docs/model_card.md, with some room for other machines."""
    detector = Detector(STREET, (0.0, 51.2), (-25.6, 25.6))
    folder = KittiFolder(data_dir / 'kitti')
    score = evaluate(detector, list(kitti_eval_frames(folder)), len(folder)).score
    for least, enough in ((0.5, 0.65), (0.7, 0.5)):
        ranking = score.rankings['seen', 'vehicle', 'bev', least]
        assert ranking.positives == 26
        assert ranking.average_precision() > enough


def test_a_node_refuses_a_grid_of_other_cells():
    context = rclpy.Context()
    context.init(domain_id=104)
    description = read_metadata(STREET)
    values = {
        **dict.fromkeys(CHECKPOINTS, STREET),
        'grid.resolution': 0.16,
        'grid.x_range': [0.0, 16.0],
        'grid.y_range': [-8.0, 8.0],
        'grid.z_range': list(description.z_range),
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
