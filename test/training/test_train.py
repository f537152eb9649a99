# SPDX-License-Identifier: Apache-2.0
"""Training: configuration, resuming, several processes, and a short run that learns."""

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

from tiny_bev_ros.detector import Detector
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.checkpoint.metadata import CheckpointMetadata, load_weights, read_metadata
from tiny_bev_ros.training.dataset import Crop, Crops
from tiny_bev_ros.training.evaluate import evaluate, reach_of
from tiny_bev_ros.training.evaluate import main as evaluate_main
from tiny_bev_ros.training.evaluation import simulated_eval_frame
from tiny_bev_ros.training.simulated import simulated
from tiny_bev_ros.training.train import main as train_main
from tiny_bev_ros.training.train import smoke_config, train
from tiny_bev_ros.training.trainer import CHECKPOINT, DistributedContext, Trainer
from tiny_bev_ros.training.training_config import ModelConfig, TrainConfig, read_config

ROOT = Path(__file__).resolve().parents[2]
SMALL = TrainConfig(
    lidars=('vlp16',),
    steps=6,
    batch=1,
    precision='float32',
    workers=0,
    save_every=2,
    network=ModelConfig(pfn_channels=8, mid_channels=8, out_channels=8),
    piece=Crop(size=16.0),
)
HERE = DistributedContext(0, 1, torch.device('cpu'))


def frames_of(config):
    return Crops(
        lambda index: simulated(index, config.lidars),
        config.steps * config.batch,
        config.piece,
        config.seed,
        config.variation,
    )


def state_of(training):
    return {key: value.clone() for key, value in training.network.state_dict().items()}


def test_shipped_configuration_is_read():
    config = read_config(ROOT / 'config/train_street.yaml')
    assert config.steps == 11000
    # What is held out for evaluation is not trained on.
    assert not {'vlp32', 'pandar64'} & set(config.lidars)


@pytest.mark.parametrize(
    ('text', 'error'),
    [
        ('stepz: 3', 'stepz is not known; expected one of data, lidars'),
        ('steps: many', "steps is 'many'; expected a int"),
        ('steps: 0', 'steps is 0; expected 1 or more'),
        (
            'network: {backbone: huge}',
            'network.backbone is .huge.; expected one of deep, deformable, fpn',
        ),
        ('network: {heads: [nose]}', 'network.heads is .nose.; expected one of detection'),
        ('lidars: [eye]', 'lidars is .eye.; expected one of hdl64'),
        ('lidars: hdl64', "lidars is 'hdl64'; expected a list"),
        ('precision: float64', 'precision is .float64.; expected one of bfloat16'),
        ('piece: {size: 52.1}', 'expected a whole number of cells'),
        ('variation: 3', 'variation. is 3; expected names and values'),
        ('[1, 2]', r'the whole is \[1, 2\]; expected names and values'),
        ('steps: [', 'cannot be read'),
    ],
)
def test_wrong_configurations_are_refused(tmp_path, text, error):
    (tmp_path / 'train.yaml').write_text(text)
    with pytest.raises(TinyBevError, match=error):
        read_config(tmp_path / 'train.yaml')


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16'])
def test_configurations_of_other_editors_are_read(tmp_path, encoding):
    (tmp_path / 'train.yaml').write_bytes('steps: 7\r\n'.encode(encoding))
    assert read_config(tmp_path / 'train.yaml').steps == 7


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path):
    torch.set_num_threads(1)
    whole = Trainer(SMALL, frames_of(SMALL), tmp_path / 'whole', HERE)
    whole.run()
    first = Trainer(SMALL, frames_of(SMALL), tmp_path / 'halves', HERE)
    first.run(until=3)
    assert first.step == 3
    second = Trainer(SMALL, frames_of(SMALL), tmp_path / 'halves', HERE)
    assert second.step == 3
    second.run()
    expected = state_of(whole)
    for key, value in state_of(second).items():
        assert torch.equal(value, expected[key]), key
    name = 'heads.detection.maps.weight'
    assert not torch.equal(expected[name], state_of(first)[name])


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    Trainer(SMALL, frames_of(SMALL), tmp_path, HERE).run(until=1)
    other = dataclasses.replace(SMALL, seed=1, learning_rate=1e-4)
    with pytest.raises(TinyBevError, match='is of another learning_rate, seed; expected the same'):
        Trainer(other, frames_of(other), tmp_path, HERE)


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
            'has no config, network, optimizer; expected',
        ),
        (lambda path: torch.save(torch.ones(1), path), 'has no step, config, network'),
    ],
)
def test_a_state_that_cannot_be_taken_up_is_one_line(tmp_path, write, words):
    write(tmp_path / CHECKPOINT)
    with pytest.raises(TinyBevError, match=words) as error:
        Trainer(SMALL, frames_of(SMALL), tmp_path, HERE)
    assert str(error.value).isprintable()


def test_intensity_stays_without_effect(tmp_path):
    training = Trainer(SMALL, frames_of(SMALL), tmp_path, HERE)
    training.run(until=3)
    assert (training.network.pfn.linear.weight[:, 3] == 0).all()


@pytest.mark.parametrize(
    ('cell', 'reach'), [(0.25, 52.0), (0.2, 51.2), (0.16, 51.2), (0.32, 51.2)]
)
def test_maps_of_an_evaluation_fit_the_cells_of_the_weights(monkeypatch, cell, reach):
    said = CheckpointMetadata({}, cell, (-3.0, 2.0), {})
    monkeypatch.setattr('tiny_bev_ros.training.evaluate.read_metadata', lambda path: said)
    side = reach_of('weights.safetensors')
    assert side == pytest.approx(reach)
    rows, cols = said.grid((-side, side), (-side, side)).shape
    assert rows == cols == round(2 * reach / cell)
    assert said.grid((0.0, side), (-side / 2, side / 2)).shape == (rows // 2, rows // 2)


def test_weights_say_what_they_are(tmp_path):
    path = train(SMALL, tmp_path, 'train --config small.yaml')
    assert path is not None
    network, said = load_weights(path)
    assert said == read_metadata(path)
    assert (said.cell, said.z_range) == (0.25, (-3.0, 2.0))
    assert said.origin['command'] == 'train --config small.yaml'
    assert said.origin['config']['steps'] == 6
    assert said.origin['commit']
    assert network.backbone.out_channels == 8
    assert (tmp_path / 'curves.png').stat().st_size > 10_000
    saved = torch.load(tmp_path / CHECKPOINT, weights_only=True)['network']
    for key, value in network.state_dict().items():
        assert torch.equal(value, saved[key]), key


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
    """Python's -m, in a process of its own: the workers of a training fork it."""
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, '-m', *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_two_processes_train_together(tmp_path):
    """As torchrun starts them: DistributedDataParallel over gloo."""
    config = tmp_path / 'train.yaml'
    config.write_text(
        'lidars: [vlp16]\nsteps: 3\nbatch: 1\nprecision: float32\nworkers: 0\n'
        'network: {pfn_channels: 8, mid_channels: 8, out_channels: 8}\npiece: {size: 16.0}\n'
    )
    of_torch = ['torch.distributed.run', '--nproc-per-node', '2', '--master-port', '29571', '-m']
    options = ['--config', str(config), '--output', str(tmp_path / 'two'), '--threads', '1']
    run_module(*of_torch, 'tiny_bev_ros.training.train', *options)
    _, said = load_weights(tmp_path / 'two/weights.safetensors')
    assert said.origin['config']['steps'] == 3
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
    exams = [
        simulated_eval_frame(str(seed), simulated(seed, ('hdl64',)), 20.0) for seed in range(6)
    ]
    result = evaluate(detector, exams, len(exams))
    ranking = result.score.rankings['seen', 'vehicle', 'bev', 0.25]
    assert ranking.positives > 10
    assert ranking.average_precision() > 0.2
    assert len(result.times) == 6
    assert len(result.worst) == 4

    words = f'evaluate --weights {tmp_path}/weights.safetensors --frames 2'.split()
    monkeypatch.setattr('sys.argv', [*words, '--output', str(tmp_path / 'exam')])
    assert evaluate_main() == 0
    printed = capsys.readouterr().out
    assert '| seen | vehicle |' in printed
    assert 'Drivable area: IoU' in printed
    assert (tmp_path / 'exam/evaluation.json').stat().st_size > 1000
    for name in ('precision_recall', 'worst'):
        assert (tmp_path / f'exam/{name}.png').stat().st_size > 10_000


def test_commands_say_what_is_wrong(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('sys.argv', ['train', '--config', str(tmp_path / 'none.yaml')])
    assert train_main() == 1
    assert 'none.yaml cannot be read' in capsys.readouterr().err
    monkeypatch.setattr('sys.argv', ['evaluate', '--weights', str(tmp_path / 'no.safetensors')])
    assert evaluate_main() == 1
    assert 'no.safetensors, which is no file' in capsys.readouterr().err
    assert np.isfinite(smoke_config().learning_rate)


def test_without_safetensors_nothing_is_trained(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'safetensors.torch', None)
    with pytest.raises(TinyBevError, match=r'safetensors\.torch is not installed; expected it'):
        train(smoke_config(), tmp_path, '')
    assert not list(tmp_path.iterdir())
