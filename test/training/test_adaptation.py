# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Adaptation to a recording: rounds of the mean teacher, results, report and errors."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba', 'safetensors')

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from ground_cloud import ground_cloud
from steady_detector import SteadyDetector, cloud_with_cars

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.checkpoint.metadata import load_weights, save_weights
from tiny_bev_ros.training import adaptation
from tiny_bev_ros.training.adaptation import (
    OLD_WEIGHTS,
    REPORT,
    MixedFrames,
    adapt,
    adaptation_config,
)
from tiny_bev_ros.training.augment import Augmentation
from tiny_bev_ros.training.dataset import Crop
from tiny_bev_ros.training.simulated_lidar import Mountings
from tiny_bev_ros.training.start_weights import mix_weights
from tiny_bev_ros.training.train import WEIGHTS, describe
from tiny_bev_ros.training.trainable_detector import build_network
from tiny_bev_ros.training.training_config import ModelConfig, TrainConfig

SMALL = TrainConfig(
    lidars=('vlp16',),
    network=ModelConfig(pfn_channels=8, mid_channels=8, out_channels=8),
    crop=Crop(size=16.0),
)


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp('weights') / 'old.safetensors'
    save_weights(path, build_network(SMALL.network, 5), describe(SMALL, 'train'))
    return path


def recording():
    cars = [(8.0, 3.0), (-6.0, -5.0)]
    return [[cloud_with_cars(cars, 0.5 * step) for step in range(3)], [cloud_with_cars(cars)]]


@pytest.fixture
def small_maps(monkeypatch):
    """Makes maps of 32 m, so that a step takes little time."""
    monkeypatch.setattr(adaptation, '_CROP_CELLS', 64)
    monkeypatch.setattr(adaptation, '_MAP_CELLS', 64)


def test_weights_are_adapted_and_the_old_ones_kept(weights, tmp_path, monkeypatch, small_maps):
    teachers, folder = [], tmp_path / 'adapted'

    def make_detector(path, config):
        network, _ = load_weights(path)
        teachers.append((path, network.state_dict()))
        return SteadyDetector()

    monkeypatch.setattr(adaptation, 'make_detector', make_detector)
    report = adapt(weights, recording(), folder, 2, 'train --adapt bag')
    assert {path.name for path in folder.iterdir()} == {
        WEIGHTS,
        OLD_WEIGHTS,
        REPORT,
        'log.csv',
        'curves.png',
    }
    assert (folder / OLD_WEIGHTS).read_bytes() == weights.read_bytes()

    # The average of the weights labels the recording after each round.
    assert [path for path, _ in teachers] == [weights, folder / WEIGHTS, folder / WEIGHTS]
    old, middle, new = (state['pfn.linear.weight'] for _, state in teachers)
    assert not torch.equal(old, middle)
    assert not torch.equal(middle, new)

    network, metadata = load_weights(folder / WEIGHTS)
    assert torch.equal(network.pfn.linear.weight, new)
    assert metadata.origin['start_from']['weights'] == 'old.safetensors'
    assert metadata.origin['command'] == 'train --adapt bag'
    assert metadata.origin['config']['lidars'] == ['vlp16']

    values = json.loads((folder / REPORT).read_text())
    assert values['clouds'] == 4
    vehicle = values['vehicle']
    assert vehicle['before'] == vehicle['after']
    assert vehicle['before']['objects'] == vehicle['before']['labels'] == 2
    assert vehicle['before']['histogram'] == [0, 0, 0, 2]
    assert vehicle['before']['flips'] == vehicle['before']['recurs'] == 1
    assert (vehicle['kept'], vehicle['new'], vehicle['gone']) == (2, 0, 0)
    assert values['cyclist']['before']['flips'] is None
    assert '| objects per cloud, score from 0.3 | 2.00 -> 2.00 | 0.00 -> 0.00 |' in report
    assert '| - -> - |' in report


def test_adapted_weights_are_mixed_with_the_old_ones():
    old, network = build_network(SMALL.network, 5), build_network(SMALL.network, 6)
    before = network.pfn.linear.weight.clone()
    mix_weights(network, old, 0.3)
    expected = 0.7 * before + 0.3 * old.pfn.linear.weight
    torch.testing.assert_close(network.pfn.linear.weight, expected)


def test_without_labels_nothing_is_trained(weights, tmp_path, small_maps):
    """A network of random weights detects nothing."""
    with pytest.raises(TinyBevError, match='labels are 0 in 4 clouds; expected objects'):
        adapt(weights, recording(), tmp_path / 'adapted', 2)
    assert not (tmp_path / 'adapted').exists()


@pytest.mark.parametrize(
    ('runs', 'words'),
    [([], 'points are 0 in 0 clouds'), ([[np.empty((0, 4), np.float32)]], 'points are 0 in 1 c')],
)
def test_recordings_without_points_are_refused(weights, tmp_path, runs, words, small_maps):
    with pytest.raises(TinyBevError, match=words):
        adapt(weights, runs, tmp_path / 'adapted', 2)


def test_a_used_folder_is_refused(weights, tmp_path):
    (tmp_path / 'log.csv').write_text('')
    with pytest.raises(TinyBevError, match='which is not empty; expected a new folder'):
        adapt(weights, recording(), tmp_path, 2)
    with pytest.raises(TinyBevError, match="weights is 'none'; expected street"):
        adapt('none', recording(), tmp_path / 'adapted', 2)


def test_the_configuration_is_that_of_the_weights():
    config = adaptation_config(describe(SMALL, 'train'), 70)
    assert config.network == SMALL.network
    assert (config.crop.resolution, config.crop.z_range) == (0.25, (-3.0, 2.0))
    assert (config.steps, config.lidars) == (70, ('vlp16',))
    foreign = describe(SMALL, 'train')
    foreign.origin.clear()
    assert adaptation_config(foreign, 70).lidars == TrainConfig.lidars
    assert adaptation_config(foreign, 70).augmentation == Augmentation()


def test_frames_are_augmented_as_those_of_the_weights():
    gentle = replace(SMALL, augmentation=Augmentation(z_jitter=0.05, rotation=0.1))
    assert adaptation_config(describe(gentle, 'train'), 70).augmentation == gentle.augmentation


def test_recorded_and_simulated_frames_take_turns():
    frames = MixedFrames(['a', 'b'], lambda seed: ('scanned', seed), lambda seed: ('known', seed))
    items = [frames(index) for index in range(12)]
    assert sorted(items[::3]) == ['a', 'a', 'b', 'b']
    assert {item[0] for item in items[1::3]} == {'scanned'}
    assert {item[0] for item in items[2::3]} == {'known'}
    assert len({item[1] for item in items if len(item) > 1}) == 8
    assert [frames(index) for index in range(12)] == items


def test_clouds_of_a_low_sensor_are_levelled_for_weights_of_levelled_clouds():
    recording = [[ground_cloud(height=0.4, seed=seed) for seed in range(3)]]
    level, mountings = adaptation._mounting(recording, True, Mountings(levelled=True))
    ground = np.percentile(level(recording[0][0])[:, 2], 10)
    assert abs(ground + 1.73) < 0.15
    assert mountings.heights == pytest.approx((0.4, 0.4), abs=0.1)
    same, mountings = adaptation._mounting(recording, False, Mountings())
    assert same(recording[0][0]) is recording[0][0]
    assert mountings == Mountings()
