# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import numpy as np
import torch

from benchmarks.engine.benchmark_inputs import KITTI, pillar_feature_net
from benchmarks.engine.padded_pfn import MAX_POINTS, encode, voxelise
from tiny_bev_ros.grid import BevGrid

GRID = BevGrid((0, 8), (-4, 4), (-3, 1), 0.5)


def check(points: torch.Tensor, grid: BevGrid) -> torch.Tensor:
    """Asserts that both nets agree; returns the numbers of points."""
    network = pillar_feature_net(MAX_POINTS)
    with torch.inference_mode():
        wanted, wanted_cells = network(points, grid)
        voxels, counts, cells = voxelise(points, grid)
        got = encode(network, voxels, counts, cells, grid)
    assert torch.equal(cells, wanted_cells)
    assert voxels.shape == (len(cells), 32, 4)
    assert (got - wanted).abs().max() < 1e-6 * wanted.abs().max() + 1e-5
    return counts


def test_it_is_the_pillar_feature_net_of_32_points():
    random = np.random.default_rng(0)
    low, high = (-1, -5, -4, 0), (9, 5, 2, 1)
    spread = random.uniform(low, high, (3000, 4))
    crowd = random.uniform((2, 1, -1, 0), (2.5, 1.5, 0, 1), (90, 4))
    points = random.permutation(np.concatenate([spread, crowd])).astype(np.float32)
    counts = check(torch.from_numpy(points), GRID)
    assert counts.max() == MAX_POINTS
    assert counts.min() < MAX_POINTS


def test_empty_slots_are_zero_and_the_first_points_count():
    points = torch.arange(1, 41, dtype=torch.float32)[:, None] * torch.tensor([0.01, 0, -0.01, 1])
    voxels, counts, cells = voxelise(points, GRID)
    assert torch.equal(voxels[0], points[:32])
    assert (counts.tolist(), cells.tolist()) == ([32], [[8, 0]])
    voxels, counts, _ = voxelise(points[:3], GRID)
    assert counts.tolist() == [3]
    assert voxels[0, 3:].abs().max() == 0


def test_a_real_sweep(data_dir):
    sweep = np.fromfile(data_dir / 'kitti' / 'velodyne' / '000008.bin', np.float32)
    check(torch.from_numpy(sweep.reshape(-1, 4)), KITTI)
