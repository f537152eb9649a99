# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.camera.extrinsics import IDENTITY_EXTRINSICS, extrinsics_from_pose
from tiny_bev_ros.models.camera.geometry import make_camera

# Quaternion of an optical frame along x: its z is x of the points, its x is -y, its y is -z.
AHEAD = (-0.5, 0.5, -0.5, 0.5)
metres = st.floats(-100, 100)
parts = st.floats(-1, 1)
turns = st.tuples(parts, parts, parts, parts).filter(lambda turn: math.hypot(*turn) > 0.1)


def test_a_camera_that_points_ahead():
    extrinsics = extrinsics_from_pose((0.3, -0.1, 1.2, *AHEAD))
    turn = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    assert extrinsics[:3, :3].tolist() == turn
    # Point 5 m ahead of the camera, 1 m to its left, 0.5 m below.
    place = extrinsics @ torch.tensor([5.3, 0.9, 0.7, 1], dtype=torch.float64)
    assert place.tolist() == pytest.approx([-1, 0.5, 5, 1])


def test_a_camera_in_its_own_frame():
    assert torch.equal(
        extrinsics_from_pose((0, 0, 0, 0, 0, 0, 1)),
        torch.tensor(IDENTITY_EXTRINSICS, dtype=torch.float64),
    )


@settings(deadline=None, derandomize=True, database=None)
@given(at=st.tuples(metres, metres, metres), turn=turns)
def test_the_position_of_any_camera_is_the_origin_of_its_frame(at, turn):
    length = math.hypot(*turn)
    extrinsics = extrinsics_from_pose((*at, *(part / length for part in turn)))
    make_camera(
        [9, 0, 4, 0, 9, 3, 0, 0, 1], extrinsics.tolist(), (8, 6)
    )  # checks that it is rigid
    own = extrinsics @ torch.tensor([*at, 1], dtype=torch.float64)
    assert own.tolist() == pytest.approx([0, 0, 0, 1], abs=1e-9)
    # A quaternion and its opposite are one rotation.
    again = extrinsics_from_pose((*at, *(-part / length for part in turn)))
    assert torch.allclose(extrinsics, again)


@pytest.mark.parametrize(
    ('pose', 'reason'),
    [
        ((0, 0, 0, 1), 'expected 7 finite numbers'),
        ((0, 0, math.nan, *AHEAD), 'expected 7 finite numbers'),
        ((0, 0, 0, 0, 0, 0, 0), 'quaternion of length 0; expected length 1'),
        ((0, 0, 0, 1, 1, 0, 0), 'quaternion of length 1.41; expected length 1'),
    ],
)
def test_invalid_poses_are_refused(pose, reason):
    with pytest.raises(TinyBevError, match=reason):
        extrinsics_from_pose(pose)
