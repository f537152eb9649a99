# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Training: resuming, several processes, and a short run that learns."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba', 'safetensors')

import csv
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from tiny_bev_ros.detector import Detector
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.checkpoint.metadata import CheckpointMetadata, load_weights, read_metadata
from tiny_bev_ros.training.dataset import Crop, collate
from tiny_bev_ros.training.distributed import DistributedContext
from tiny_bev_ros.training.evaluate import main as evaluate_main
from tiny_bev_ros.training.evaluation import simulated_eval_frame
from tiny_bev_ros.training.evaluation_run import evaluate, map_reach
from tiny_bev_ros.training.simulated_lidar import simulate_lidar_frame
from tiny_bev_ros.training.train import main as train_main
from tiny_bev_ros.training.train import make_dataset, smoke_config, train
from tiny_bev_ros.training.trainable_detector import TrainableDetector, build_network
from tiny_bev_ros.training.trainer import CHECKPOINT, Trainer
from tiny_bev_ros.training.training_config import (
    CameraConfig,
    ModelConfig,
    TrainConfig,
)

ROOT = Path(__file__).resolve().parents[2]
SMALL = TrainConfig(
    lidars=('vlp16',),
    steps=6,
    batch=1,
    precision='float32',
    workers=0,
    save_every=2,
    network=ModelConfig(pfn_channels=8, mid_channels=8, out_channels=8),
    crop=Crop(size=16.0),
)
WITH_CAMERA = dataclasses.replace(
    SMALL,
    data='sim_camera',
    frames=3,
    network=ModelConfig(
        pfn_channels=8,
        mid_channels=8,
        out_channels=8,
        heads=('detection',),
        camera=CameraConfig(channels=8, num_heads=2),
    ),
    crop=Crop(size=32.0),
)
HERE = DistributedContext(0, 1, torch.device('cpu'))


def make_trainer(config, folder):
    dataset = make_dataset(config, config.steps * config.batch, folder.parent)
    return Trainer(config, dataset, folder, HERE)


def state_of(trainer):
    return {key: value.clone() for key, value in trainer.network.state_dict().items()}


@pytest.mark.parametrize('config', [SMALL, WITH_CAMERA], ids=['lidar', 'camera'])
def test_a_resumed_run_goes_on_as_if_it_had_not_been_stopped(tmp_path, config):
    torch.set_num_threads(1)
    whole = make_trainer(config, tmp_path / 'whole')
    whole.run()
    first = make_trainer(config, tmp_path / 'halves')
    first.run(until=3)
    assert first.step == 3
    second = make_trainer(config, tmp_path / 'halves')
    assert second.step == 3
    second.run()
    expected = state_of(whole)
    for key, value in state_of(second).items():
        assert torch.equal(value, expected[key]), key
    average = whole.average.network.state_dict()
    for key, value in second.average.network.state_dict().items():
        assert torch.equal(value, average[key]), key
    name = 'heads.detection.maps.weight'
    assert not torch.equal(expected[name], state_of(first)[name])


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    make_trainer(SMALL, tmp_path).run(until=1)
    other = dataclasses.replace(SMALL, seed=1, learning_rate=1e-4)
    with pytest.raises(TinyBevError, match='is of another learning_rate, seed; expected the same'):
        make_trainer(other, tmp_path)


@pytest.mark.parametrize(
    ('write', 'words'),
    [
        (lambda path: path.write_bytes(b''), 'it is empty'),
        (
            lambda path: path.write_text('version https://git-lfs.github.com/spec/v1\nsize 9\n'),
            'is a Git LFS pointer for a file of 9 bytes',
        ),
        (lambda path: path.write_bytes(b'PK\x03\x04' + bytes(999)), r'cannot be read \(.*Error'),
        (
            lambda path: torch.save({'step': 3}, path),
            'has no config, network, optimizer, average; expected',
        ),
        (lambda path: torch.save(torch.ones(1), path), 'has no step, config, network'),
    ],
)
def test_a_state_that_cannot_be_resumed_is_one_line(tmp_path, write, words):
    write(tmp_path / CHECKPOINT)
    with pytest.raises(TinyBevError, match=words) as error:
        make_trainer(SMALL, tmp_path)
    assert str(error.value).isprintable()


def test_intensity_stays_without_effect(tmp_path):
    trainer = make_trainer(SMALL, tmp_path)
    trainer.run(until=3)
    assert (trainer.network.pfn.linear.weight[:, 3] == 0).all()


@pytest.mark.parametrize(
    ('cell', 'reach'), [(0.25, 52.0), (0.2, 51.2), (0.16, 51.2), (0.32, 51.2)]
)
def test_the_map_of_an_evaluation_fits_the_cells_of_the_weights(monkeypatch, cell, reach):
    metadata = CheckpointMetadata({}, cell, (-3.0, 2.0), {})
    monkeypatch.setattr(
        'tiny_bev_ros.training.evaluation_run.read_metadata', lambda path: metadata
    )
    side = map_reach('street')
    assert side == pytest.approx(reach)
    rows, cols = metadata.grid((-side, side), (-side, side)).shape
    assert rows == cols == round(2 * reach / cell)
    assert metadata.grid((0.0, side), (-side / 2, side / 2)).shape == (rows // 2, rows // 2)


def test_weights_record_their_network_and_origin(tmp_path):
    path = train(SMALL, tmp_path, 'train --config small.yaml')
    assert path is not None
    network, metadata = load_weights(path)
    assert metadata == read_metadata(path)
    assert (metadata.cell, metadata.z_range) == (0.25, (-3.0, 2.0))
    assert metadata.origin['command'] == 'train --config small.yaml'
    assert metadata.origin['config']['steps'] == 6
    assert metadata.origin['commit']
    assert network.backbone.out_channels == 8
    assert (tmp_path / 'curves.png').stat().st_size > 10_000
    assert 'start_from' not in metadata.origin
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    for key, value in network.state_dict().items():
        assert torch.equal(value, state['average'][key]), key
    name = 'heads.detection.maps.weight'
    assert not torch.equal(state['average'][name], state['network'][name])


def test_weights_trained_with_a_camera_hold_encoder_and_fusion(tmp_path):
    torch.set_num_threads(1)
    path = train(WITH_CAMERA, tmp_path, 'train --config fusion.yaml')
    with safe_open(path, 'pt') as file:
        parts = {key.partition('.')[0] for key in file.keys()}  # noqa: SIM118 - no mapping
    assert parts == {'pfn', 'backbone', 'heads', 'camera_encoder', 'fusion'}
    network, metadata = load_weights(path)  # the part that needs no camera
    assert metadata.origin['config']['network']['camera']['num_heads'] == 2
    assert network.backbone.out_channels == 8
    assert len(list((tmp_path / 'frames').glob('*.npz'))) <= 3


def test_with_cameras_heads_are_trained_on_both_maps(tmp_path):
    """Features of the LiDAR alone come first: they do not depend on the image."""
    model = TrainableDetector(build_network(WITH_CAMERA.network, 0)).eval()
    (sample,) = make_dataset(WITH_CAMERA, 1, tmp_path)[0]
    batch = collate([[sample]])
    grid = WITH_CAMERA.crop.ahead()
    with torch.inference_mode():
        features, outputs = model(batch.points, [grid], batch.images, batch.cameras)
        dark, _ = model(batch.points, [grid], torch.zeros_like(batch.images), batch.cameras)
        alone, _ = model(batch.points, [grid])
    assert len(features) == len(outputs['detection'].heatmap) == 2
    assert torch.equal(features[0], alone[0])
    assert torch.equal(features[0], dark[0])
    assert not torch.equal(features[1], dark[1])


def test_weights_that_do_not_fit_are_refused(tmp_path):
    from safetensors.torch import save_file

    (tmp_path / 'x.safetensors').write_bytes(b'12345678' * 9)
    with pytest.raises(TinyBevError, match='it is of unknown kind'):
        read_metadata(tmp_path / 'x.safetensors')
    save_file({'a': torch.zeros(1)}, tmp_path / 'y.safetensors')
    with pytest.raises(TinyBevError, match='expected a file of `train`'):
        load_weights(tmp_path / 'y.safetensors')
    with pytest.raises(TinyBevError, match='which is no file; expected an existing one'):
        load_weights(tmp_path / 'z.safetensors')


def run_module(*arguments):
    """Runs Python's -m in a process of its own, as the workers of a training fork it."""
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, '-m', *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_two_processes_train_together(tmp_path):
    """Uses DistributedDataParallel over Gloo, started as by torchrun."""
    config = tmp_path / 'train.yaml'
    config.write_text(
        'lidars: [vlp16]\nsteps: 3\nbatch: 1\nprecision: float32\nworkers: 0\n'
        'network: {pfn_channels: 8, mid_channels: 8, out_channels: 8}\ncrop: {size: 16.0}\n'
    )
    torchrun = ['torch.distributed.run', '--standalone', '--nproc-per-node', '2', '-m']
    options = ['--config', str(config), '--output', str(tmp_path / 'two'), '--threads', '1']
    run_module(*torchrun, 'tiny_bev_ros.training.train', *options)
    _, metadata = load_weights(tmp_path / 'two/weights.safetensors')
    assert metadata.origin['config']['steps'] == 3
    state = torch.load(tmp_path / 'two' / CHECKPOINT, weights_only=True)
    assert state['step'] == 3


def test_a_short_run_learns_to_find_a_car(tmp_path, monkeypatch, capsys):
    run_module(
        'tiny_bev_ros.training.train', '--smoke', '--threads', '1', '--output', str(tmp_path)
    )
    with (tmp_path / 'log.csv').open(newline='') as file:
        losses = [float(row['total']) for row in csv.DictReader(file)]
    assert losses[-1] < 0.75 * losses[0]
    detector = Detector(tmp_path / 'weights.safetensors', (-32.0, 32.0), (-32.0, 32.0))
    frames = [
        simulated_eval_frame(str(seed), simulate_lidar_frame(seed, ('hdl64',)), 20.0)
        for seed in range(6)
    ]
    result = evaluate(detector, frames, len(frames))
    ranking = result.score.rankings['visible', 'vehicle', 'bev', 0.25]
    assert ranking.positives > 10
    assert ranking.average_precision() > 0.2
    assert len(result.times) == 6
    assert len(result.worst) == 4

    words = f'evaluate --weights {tmp_path}/weights.safetensors --frames 2'.split()
    monkeypatch.setattr('sys.argv', [*words, '--output', str(tmp_path / 'evaluation')])
    assert evaluate_main() == 0
    printed = capsys.readouterr().out
    assert '| visible | vehicle |' in printed
    assert 'drivable area: IoU' in printed
    assert (tmp_path / 'evaluation/evaluation.json').stat().st_size > 1000
    for name in ('precision_recall', 'worst'):
        assert (tmp_path / f'evaluation/{name}.png').stat().st_size > 10_000


def test_commands_report_errors(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('sys.argv', ['train', '--config', str(tmp_path / 'none.yaml')])
    assert train_main() == 1
    assert 'none.yaml cannot be read' in capsys.readouterr().err
    monkeypatch.setattr('sys.argv', ['evaluate', '--weights', str(tmp_path / 'no.safetensors')])
    assert evaluate_main() == 1
    assert "no.safetensors'; expected street, or the path of a file" in capsys.readouterr().err
    assert np.isfinite(smoke_config().learning_rate)


def test_without_safetensors_nothing_is_trained(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'safetensors.torch', None)
    with pytest.raises(TinyBevError, match=r'torch is not installed; expected safetensors'):
        train(smoke_config(), tmp_path, '')
    assert not list(tmp_path.iterdir())
