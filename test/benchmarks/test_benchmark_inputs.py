# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

from optional_packages import require_packages

require_packages('numba')

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.engine import benchmark_inputs


def test_without_real_sweeps_a_street_is_simulated(tmp_path: Path):
    found = benchmark_inputs.clouds(tmp_path)
    assert len(found) == 5
    assert all(
        label.startswith('simulated') and len(points) > 1e4 for label, points in found.items()
    )


def test_sweeps_and_their_points_within_the_view_of_the_camera(tmp_path: Path):
    points = np.random.default_rng(0).random((7, 4), np.float32)
    for name in ('velodyne', 'velodyne_reduced'):
        folder = tmp_path / 'kitti' / name
        folder.mkdir(parents=True)
        points.tofile(folder / '000008.bin')
    found = benchmark_inputs.clouds(tmp_path)
    assert list(found) == ['sweep 000008', 'front 000008']
    np.testing.assert_array_equal(found['sweep 000008'], points)


def test_pseudo_images_end_with_random_ones():
    cloud = np.array([[1, 2, -1, 0.5], [30, -20, 0, 0.1]], np.float32)
    images = dict(benchmark_inputs.pseudo_images({'sweep 1': cloud}))
    assert [label.split()[0] for label in images] == ['sweep', 'random', 'random']
    assert all(image.shape == (1, 64, 496, 432) for image in images.values())
    cells = 496 * 432
    assert benchmark_inputs.active_fraction(images['sweep 1']) == pytest.approx(2 / cells)
    fractions = [benchmark_inputs.active_fraction(images[f'random {i}']) for i in range(2)]
    assert fractions == pytest.approx([benchmark_inputs.RANDOM_FRACTION] * 2, abs=1e-5)
    assert not torch.equal(images['random 0'], images['random 1'])


def test_networks_are_the_same_each_time():
    first, second = (
        benchmark_inputs.backbone().state_dict(),
        benchmark_inputs.backbone().state_dict(),
    )
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    every, capped = (benchmark_inputs.pillar_feature_net(count) for count in (None, 32))
    assert capped.max_points == 32
    assert torch.equal(every.linear.weight, capped.linear.weight)
    assert torch.equal(every.norm.running_mean, capped.norm.running_mean)
    assert every.norm.running_mean.abs().max() > 0
