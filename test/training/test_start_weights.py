# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Training that starts from weights: loading, refusals, record and resuming."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba', 'safetensors')

import dataclasses
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from second_stages import lively_second_stage

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.checkpoint.metadata import load_weights, read_metadata, save_weights
from tiny_bev_ros.resources import weights_file
from tiny_bev_ros.training.dataset import Crop
from tiny_bev_ros.training.second_stage_file import add_second_stage
from tiny_bev_ros.training.simulated_lidar import Mountings
from tiny_bev_ros.training.start_weights import load_start_weights, mix_weights
from tiny_bev_ros.training.train import describe, train
from tiny_bev_ros.training.train import main as train_main
from tiny_bev_ros.training.trainable_detector import build_network
from tiny_bev_ros.training.training_config import CameraConfig, ModelConfig, TrainConfig

NETWORK = ModelConfig(pfn_channels=8, mid_channels=8, out_channels=8, heads=('detection',))
BOTH = ('detection', 'drivable')
SMALL = TrainConfig(
    lidars=('vlp16',),
    steps=2,
    batch=1,
    precision='float32',
    workers=0,
    network=NETWORK,
    crop=Crop(size=16.0),
)


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp('weights') / 'old.safetensors'
    save_weights(path, build_network(NETWORK, 5), describe(SMALL, 'train'))
    return path


def test_weights_are_loaded_and_identified(weights, capsys):
    network = build_network(NETWORK, 0)
    start = load_start_weights(weights, network, SMALL)
    assert start.weights == 'old.safetensors'
    assert start.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    for key, value in load_weights(weights)[0].state_dict().items():
        assert torch.equal(value, network.state_dict()[key]), key
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize('keeps', [False, True])  # a second stage, which the file lacks
def test_a_score_calibration_is_not_taken_over(tmp_path, keeps):
    fitted = build_network(NETWORK, 5)
    calibration = fitted.heads['detection'].calibration
    calibration.scale.fill_(2.0)
    calibration.bias.fill_(-1.0)
    save_weights(tmp_path / 'fitted.safetensors', fitted, describe(SMALL, 'train'))
    network = build_network(NETWORK, 0)
    config = replace(SMALL, keep_second_stage=keeps)
    load_start_weights(tmp_path / 'fitted.safetensors', network, config)
    assert network.heads['detection'].calibration.scale.tolist() == [1, 1, 1]
    assert network.heads['detection'].calibration.bias.tolist() == [0, 0, 0]


def test_weights_of_levelled_clouds_want_levelled_clouds(tmp_path):
    path = tmp_path / 'levelled.safetensors'
    config = replace(SMALL, data='a folder', mountings=Mountings(levelled=True))
    network = build_network(NETWORK, 5)
    save_weights(path, network, describe(config, 'train'))
    load_start_weights(path, network, config)
    with pytest.raises(TinyBevError, match='levelled is False; expected True, as in levelled'):
        load_start_weights(path, network, replace(config, mountings=Mountings()))


@pytest.mark.parametrize('levelled', [True, False])
def test_weights_know_whether_their_clouds_were_levelled(tmp_path, levelled):
    config = replace(SMALL, mountings=Mountings(levelled=levelled))
    path = tmp_path / 'weights.safetensors'
    save_weights(path, build_network(NETWORK, 5), describe(config, 'train'))
    assert read_metadata(path).levelled == levelled
    assert describe(replace(config, data='a folder'), 'train').levelled == levelled
    assert not describe(replace(config, data='sim_camera'), 'train').levelled


def test_absent_heads_stay_fresh_and_are_named(weights, capsys):
    config = dataclasses.replace(
        SMALL, network=dataclasses.replace(NETWORK, heads=('detection', 'drivable'))
    )
    network, fresh = build_network(config.network, 0), build_network(config.network, 0)
    load_start_weights(weights, network, config)
    error = capsys.readouterr().err
    assert error == 'train: old.safetensors has no heads.drivable; trained from random weights\n'
    for key, value in fresh.state_dict().items():
        equal = torch.equal(value, network.state_dict()[key])
        if key.startswith('heads.drivable'):
            assert equal, key
    assert not torch.equal(fresh.pfn.linear.weight, network.pfn.linear.weight)


def test_absent_cameras_stay_fresh_and_are_named(weights, capsys):
    camera = CameraConfig(channels=8, num_heads=2)
    config = dataclasses.replace(
        SMALL, data='sim_camera', network=dataclasses.replace(NETWORK, camera=camera)
    )
    load_start_weights(weights, build_network(config.network, 0), config)
    assert 'has no camera_encoder, fusion; trained' in capsys.readouterr().err


def test_a_second_stage_is_not_taken_over_and_named(weights, tmp_path, capsys):
    path = tmp_path / 'two_stages.safetensors'
    add_second_stage(path, *load_weights(weights), lively_second_stage(), {})
    load_start_weights(path, build_network(NETWORK, 0), SMALL)
    line = 'train: two_stages.safetensors has a second stage, which is not taken over; keep_s'
    assert capsys.readouterr().err.startswith(line)


def test_a_second_stage_is_kept_with_the_scores_that_it_takes(tmp_path, capsys):
    network, second_stage = build_network(NETWORK, 5), lively_second_stage()
    network.heads['detection'].calibration.scale.fill_(2.0)
    second_stage.calibration.bias.fill_(0.5)
    old = tmp_path / 'old.safetensors'
    add_second_stage(old, network, describe(SMALL, 'train'), second_stage, {'commit': 'c0'})
    path = train(replace(SMALL, keep_second_stage=True), tmp_path / 'run', 'train', old)
    assert capsys.readouterr().err == ''
    kept, metadata = load_weights(path)
    assert metadata.network['heads'] == ['detection', 'refinement']
    assert metadata.origin['second_stage'] == {'commit': 'c0'}
    for key, value in second_stage.state_dict().items():
        assert torch.equal(kept.heads['refinement'].state_dict()[key], value), key
    assert kept.heads['detection'].calibration.scale.tolist() == [2, 2, 2]
    # The networks below it are trained.
    name = 'heads.detection.maps.weight'
    assert not torch.equal(kept.state_dict()[name], network.state_dict()[name])


def test_weights_without_a_second_stage_have_none_to_keep(weights, tmp_path, capsys):
    path = train(replace(SMALL, keep_second_stage=True), tmp_path / 'run', 'train', weights)
    assert read_metadata(path).network['heads'] == ['detection']
    line = 'train: old.safetensors has no second stage; keep_second_stage has no effect\n'
    assert line in capsys.readouterr().err


def test_written_weights_hold_a_fraction_of_those_at_the_start(weights, tmp_path, capsys):
    config = replace(SMALL, learning_rate=0.1, network=replace(NETWORK, heads=BOTH))
    path = train(config, tmp_path / 'run', 'train', weights)
    old, new = load_weights(weights)[0].state_dict(), load_weights(path)[0].state_dict()
    # Written anew from the same training.
    mixed_config = replace(config, start_weights_fraction=0.25)
    mixed = load_weights(train(mixed_config, tmp_path / 'run', 'train', weights))[0].state_dict()
    name = 'heads.detection.maps.weight'
    assert not torch.allclose(new[name], old[name], atol=1e-3)
    for key, value in new.items():
        if value.is_floating_point():
            expected = 0.75 * value + 0.25 * old.get(key, value)
            torch.testing.assert_close(mixed[key], expected, msg=key)


@pytest.mark.parametrize('change', [{'start_weights_fraction': 0.1}, {'keep_second_stage': True}])
def test_nothing_is_kept_of_no_weights(tmp_path, change):
    with pytest.raises(TinyBevError, match='start_from is not given; expected weights, as the c'):
        train(replace(SMALL, **change), tmp_path, 'train')


def test_a_score_calibration_is_not_mixed():
    fitted = build_network(NETWORK, 5)
    fitted.heads['detection'].calibration.scale.fill_(2.0)
    network = build_network(NETWORK, 0)
    mix_weights(network, fitted, 0.5)
    assert network.heads['detection'].calibration.scale.tolist() == [1, 1, 1]


def test_heads_that_are_left_out_are_named(tmp_path, capsys):
    both = replace(NETWORK, heads=('detection', 'drivable'))
    path = tmp_path / 'both.safetensors'
    save_weights(path, build_network(both, 5), describe(replace(SMALL, network=both), 'train'))
    load_start_weights(path, build_network(NETWORK, 0), SMALL)
    line = 'train: both.safetensors has drivable, which network.heads leaves out\n'
    assert capsys.readouterr().err == line


def test_the_shipped_weights_fit_the_shipped_configuration():
    from tiny_bev_ros.training.training_config import read_config

    config = read_config(Path(__file__).parents[2] / 'config/training/street.yaml')
    network = build_network(config.network, 0)
    start = load_start_weights('street', network, config)
    digest = hashlib.sha256(Path(weights_file('street')).read_bytes()).hexdigest()
    assert start == ('street.safetensors', digest)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'network': dataclasses.replace(NETWORK, mid_channels=16)},
         'network.mid_channels is 16; expected 8, as in old'),
        ({'network': dataclasses.replace(NETWORK, backbone='tiny')},
         'network.backbone is tiny; expected fpn, as in old'),
        ({'crop': Crop(size=16.0, resolution=0.5)}, 'crop.resolution is 0.5; expected 0.25'),
        ({'crop': Crop(size=16.0, z_range=(-2.0, 2.0))}, r'crop.z_range is \(-2.0, 2.0\); exp'),
    ],
)  # fmt: skip
def test_weights_of_another_network_are_refused(weights, change, words):
    config = dataclasses.replace(SMALL, **change)
    with pytest.raises(TinyBevError, match=words):
        load_start_weights(weights, build_network(config.network, 0), config)


def test_a_run_records_the_weights_from_which_it_started(weights, tmp_path):
    config = dataclasses.replace(SMALL, learning_rate=1e-6, ema_decay=0.0)
    path = train(config, tmp_path / 'a', 'train', weights)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    expected = {'weights': 'old.safetensors', 'sha256': digest}
    assert read_metadata(path).origin['start_from'] == expected
    # So low a learning rate leaves the weights where they were.
    old, new = load_weights(weights)[0], load_weights(path)[0]
    torch.testing.assert_close(
        new.heads.detection.maps.weight, old.heads.detection.maps.weight, atol=1e-4, rtol=0
    )

    train(config, tmp_path / 'a', 'train', weights)  # resumed
    with pytest.raises(TinyBevError, match='is of another start_from; expected the same'):
        train(config, tmp_path / 'a', 'train')


def test_the_command_takes_weights(tmp_path, monkeypatch, capsys):
    config = tmp_path / 'train.yaml'
    config.write_text('steps: 2\n')
    words = f'train --config {config} --start-from no.safetensors --output {tmp_path}/run'
    monkeypatch.setattr('sys.argv', words.split())
    assert train_main() == 1
    assert "weights is 'no.safetensors'; expected street" in capsys.readouterr().err
    monkeypatch.setattr('sys.argv', words.replace('no.safetensors', 'street').split())
    assert train_main() == 1
    assert 'crop.resolution is 0.25; expected 0.2, as in street' in capsys.readouterr().err
