# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Levelling of points, and the way back of boxes, heights and cameras."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from ground_cloud import ground_cloud

from tiny_bev_ros.models.levelling import Levelling
from tiny_bev_ros.models.sensor_mounting import NOMINAL_HEIGHT, MountingEstimate

MOUNTING = MountingEstimate(0.6, math.radians(5), math.radians(-3))
TILTED = Levelling(MOUNTING.rotation, MOUNTING.height - NOMINAL_HEIGHT)


def test_the_ground_of_a_tilted_sensor_is_level_at_the_nominal_height():
    points = ground_cloud(0.6, 5, -3, kerb=False, walls=False, noise=0)
    levelled = TILTED.points(points)
    assert np.abs(levelled[:, 2] + NOMINAL_HEIGHT).max() < 1e-3
    assert np.array_equal(levelled[:, 3], points[:, 3])
    assert levelled.dtype == np.float32
    assert not np.shares_memory(points, levelled)


@pytest.mark.parametrize('levelling', [TILTED, Levelling(None, -1.33)])
def test_centres_of_boxes_come_back_where_their_points_are(levelling: Levelling):
    random = np.random.default_rng(0)
    centres = random.uniform(-40, 40, (20, 4)).astype(np.float32)
    rest = torch.from_numpy(random.uniform(0.5, 3, (20, 4)).astype(np.float32))
    there = torch.from_numpy(levelling.points(centres)[:, :3])
    boxes = torch.cat([there, rest], dim=1)
    back = levelling.restore_boxes(boxes)
    assert back[:, :3].numpy() == pytest.approx(centres[:, :3], abs=1e-4)
    assert torch.equal(back[:, 3:], rest)
    assert torch.equal(boxes[:, :3], there)
    assert levelling.restore_boxes(torch.empty(0, 7)).shape == (0, 7)


def test_a_level_surface_is_as_far_below_the_origin_as_in_the_cloud():
    ground = Levelling(None, 0.4 - NOMINAL_HEIGHT).restore_height(-NOMINAL_HEIGHT)
    assert ground == pytest.approx(-0.4)
    # Along the tilted z axis the ground is a little farther than straight down.
    ground = TILTED.restore_height(-NOMINAL_HEIGHT)
    assert ground == pytest.approx(-0.6 / math.cos(MOUNTING.tilt))


def test_a_camera_sees_levelled_points_where_it_saw_those_of_the_cloud():
    extrinsics = torch.eye(4, dtype=torch.float64)
    extrinsics[:3, :3] = torch.tensor([[0, -1, 0], [0, 0, -1], [1, 0, 0]])
    extrinsics[:3, 3] = torch.tensor([0.1, 0.2, -0.3])
    points = np.random.default_rng(0).uniform(-20, 20, (30, 3)).astype(np.float32)

    def seen(transform: torch.Tensor, positions: np.ndarray) -> np.ndarray:
        return (positions @ transform[:3, :3].numpy().T) + transform[:3, 3].numpy()

    found = seen(TILTED.extrinsics(extrinsics), TILTED.points(points))
    assert found == pytest.approx(seen(extrinsics, points), abs=1e-4)
