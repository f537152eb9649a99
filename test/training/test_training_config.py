# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Configurations of training: those of the repository are read, wrong ones refused."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('safetensors')

from pathlib import Path

import pytest

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.training.training_config import TrainConfig, read_config

ROOT = Path(__file__).resolve().parents[2]


def test_shipped_configuration_is_read():
    config = read_config(ROOT / 'config/training/street.yaml')
    assert config.steps == 11000
    assert config.augmentation.any_angle == 0.6
    # No network is trained on the sensors of the evaluation.
    assert not {'vlp32', 'pandar64'} & set(config.lidars)
    assert config.mountings.levelled
    assert config.mountings.heights == (0.3, 2.5)


def test_the_recipe_for_few_labels_fits_the_shipped_weights():
    config = read_config(ROOT / 'config/training/few_labels.yaml')
    street = read_config(ROOT / 'config/training/street.yaml')
    assert config.network == street.network
    assert (config.lidars, config.mountings) == (street.lidars, street.mountings)
    assert config.keep_second_stage


@pytest.mark.parametrize(
    ('text', 'error'),
    [
        ('{data: folder, simulated_fraction: 1}', 'fraction is 1.0; expected from 0 to less'),
        (
            'start_weights_fraction: -0.1',
            'start_weights_fraction is -0.1; expected from 0 to less than 1',
        ),
        ('simulated_fraction: 0.5', 'simulated_fraction is 0.5; expected 0, as data is sim'),
        (
            '{keep_second_stage: true, network: {heads: [drivable]}}',
            'keep_second_stage is True; expected False, as network.heads lacks detection',
        ),
        (
            '{keep_second_stage: true, data: sim_camera, network: {camera: {}}}',
            'keep_second_stage is True; expected False, as the network has a camera',
        ),
        ('stepz: 3', 'stepz is unknown; expected one of data, lidars'),
        ('steps: many', "steps is 'many'; expected a whole number"),
        ('steps: 0', 'steps is 0; expected 1 or more'),
        (
            'network: {backbone: huge}',
            'network.backbone is .huge.; expected one of deep, deformable, fpn',
        ),
        ('network: {heads: [nose]}', 'network.heads is .nose.; expected one of detection'),
        ('network: {heads: []}', r'network.heads is \[\]; expected at least one of detection'),
        ('lidars: [eye]', 'lidars is .eye.; expected one of hdl64'),
        ('lidars: hdl64', "lidars is 'hdl64'; expected a list"),
        (
            'mountings: {heights: [2.0, 1.0]}',
            r'mountings.heights is \[2.0, 1.0\]; expected the l',
        ),
        ('mountings: {heights: [2.0]}', r'mountings.heights is \[2.0\]; expected the lowest'),
        ('mountings: {levelled: 1}', 'mountings.levelled is 1; expected true or false'),
        ('precision: float64', 'precision is .float64.; expected one of bfloat16'),
        ('ema_decay: 1', r'ema_decay is 1.0; expected from 0 to less than 1'),
        ('augmentation: {any_angle: 1.5}', r'any_angle is 1.5; expected from 0 to 1'),
        ('crop: {size: 52.1}', 'expected a whole number of cells'),
        ('augmentation: 3', 'augmentation is 3; expected keys and values'),
        ('[1, 2]', r'the configuration is \[1, 2\]; expected keys and values'),
        ('steps: [', 'cannot be read'),
        ('network: {camera: {}}', "data is 'sim'; expected sim_camera, as the network has"),
        (
            'network: {camera: {fusion: none}}',
            'network.camera.fusion is .none.; expected one of projected, global',
        ),
        ('network: {camera: {stride: 4.5}}', r'network.camera.stride is 4.5; expected a whole'),
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


def test_a_folder_teaches_no_drivable_area_without_simulated_frames():
    with pytest.raises(TinyBevError, match='has drivable, for which a folder has no labels'):
        TrainConfig(data='recordings')
    assert TrainConfig(data='recordings', simulated_fraction=0.1).simulated_fraction == 0.1
