# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Tests of the choice of network and cells: configurations, measures, times and table."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba', 'safetensors')

from pathlib import Path

import pytest
import torch

from experiments.network_choice import (
    CANDIDATES,
    Candidate,
    markdown,
    measure,
    run_config,
    time_detectors,
)
from tiny_bev_ros.resources import find_weights
from tiny_bev_ros.training.trainable_detector import build_network
from tiny_bev_ros.training.training_config import read_config

RECIPE = read_config(Path(__file__).parents[2] / 'config/training/street.yaml')


def test_the_first_candidate_is_what_is_shipped():
    config = run_config(RECIPE, CANDIDATES[0], RECIPE.steps)
    assert config.network == RECIPE.network
    assert config.crop.size == pytest.approx(RECIPE.crop.size)
    assert config.crop.resolution == RECIPE.crop.resolution


@pytest.mark.parametrize('candidate', CANDIDATES, ids=lambda candidate: candidate.name)
def test_a_backbone_takes_the_crop_of_a_candidate(candidate: Candidate):
    config = run_config(RECIPE, candidate, 7)
    rows, columns = config.crop.ahead().shape
    assert rows == columns and rows % 16 == 0
    assert config.crop.size == pytest.approx(51.2, abs=1.6)
    assert config.steps == 7
    network = build_network(config.network, 0)
    channels = config.network.pfn_channels
    with torch.no_grad():
        features = network.eval().backbone(torch.zeros(1, channels, 32, 32))
    assert features.shape[2:] == (16, 16)


def test_accuracy_and_times_are_measured():
    torch.set_num_threads(1)
    path = find_weights('street')
    accuracy = measure(path, 1)
    assert 0 < accuracy['vehicle bev 0.5'] <= 1 and 0 < accuracy['drivable area IoU'] <= 1
    times = time_detectors({'one': path, 'other': path}, 1)
    assert set(times) == {'one', 'other'} and min(times.values()) > 0


def test_times_are_compared_with_those_of_the_first():
    rows = [
        {'candidate': 'fpn 0.2 m', 'accuracy': {'vehicle bev 0.5': 0.5}, 'ms': 10.0},
        {'candidate': 'deep 0.2 m', 'accuracy': {'vehicle bev 0.5': 0.625}, 'ms': 25.0},
    ]
    assert markdown(rows).splitlines()[2:] == [
        '| fpn 0.2 m | 0.500 | 10.0 | 1.00 |',
        '| deep 0.2 m | 0.625 | 25.0 | 2.50 |',
    ]
