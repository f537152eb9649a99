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
import pytest
import torch
from acted_machine import Machine

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.observed_ground import box_bottom_height, observed_cells, road_height

GRID = BevGrid((0, 16), (-8, 8), (-3, 1), 1.0)


def test_cells_near_a_point_are_observed():
    found = observed_cells(torch.tensor([5, 0]), torch.tensor([6, 15]), GRID.shape)
    expected = torch.zeros(GRID.shape, dtype=torch.bool)
    expected[3:8, 4:9] = True
    expected[:3, 13:] = True
    assert torch.equal(found, expected)
    nothing = torch.zeros(0, dtype=torch.int64)
    assert not observed_cells(nothing, nothing, GRID.shape).any()
    assert observed_cells(torch.tensor([1]), torch.tensor([0]), (2, 1)).all()


def test_cells_on_a_gpu_are_copied_at_once(acted: Machine):
    rows, cols = torch.tensor([[5, 0], [6, 15]]).to('cuda')
    acted.reset()
    found = observed_cells(rows, cols, GRID.shape)
    assert acted.waits.total() == 1
    assert torch.equal(found, observed_cells(rows.cpu(), cols.cpu(), GRID.shape))


def test_the_road_is_as_high_as_the_points_on_it():
    random = np.random.default_rng(0)
    points = random.uniform([-4, -12, 0, 0], [20, 12, 1, 1], (20_000, 4)).astype(np.float32)
    road = np.abs(points[:, 1]) < 4
    points[road, 2] = -1.8 + random.normal(0, 0.02, road.sum())
    drivable = torch.full(GRID.shape, 0.1)
    drivable[4:12] = 0.9
    assert road_height(points, drivable, GRID) == pytest.approx(-1.8, abs=0.01)
    assert road_height(points, torch.zeros(GRID.shape), GRID) is None
    assert road_height(points[:0], drivable, GRID) is None


def test_the_bottom_of_boxes():
    boxes = torch.tensor([[9.0, 0, z, 4, 2, 1.6, 0] for z in (-1.0, -0.9, 3.0)])
    assert box_bottom_height(boxes) == pytest.approx(-1.7)
    assert box_bottom_height(boxes[:0]) is None
