# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Extrinsics of a camera, from its pose as transforms give it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tiny_bev_ros.errors import TinyBevError

# Extrinsics of a camera for points in its own optical frame.
IDENTITY_EXTRINSICS = (
    (1.0, 0.0, 0.0, 0.0),
    (0.0, 1.0, 0.0, 0.0),
    (0.0, 0.0, 1.0, 0.0),
    (0.0, 0.0, 0.0, 1.0),
)
# Tolerance for the length of a quaternion, whose numbers may be rounded to three digits.
_LENGTH_TOLERANCE = 0.01


def extrinsics_from_pose(pose: Sequence[float]) -> Tensor:
    """Computes `Camera.extrinsics` from a pose.

    Args:
        pose: x, y, z in metres and quaternion x, y, z, w of the optical frame (x right, y down,
            z ahead) in the frame of points, as `tf2_echo POINTS OPTICAL` shows them.

    Returns:
        (4,4) float64 rotation and translation from the frame of points to the optical one.

    Raises:
        TinyBevError: the pose is not 7 finite numbers, or its quaternion is not of length 1.
    """
    to_points = transform_from_pose(pose)
    rotation, position = to_points[:3, :3], to_points[:3, 3]
    extrinsics = torch.eye(4, dtype=torch.float64)
    extrinsics[:3, :3] = rotation.T
    extrinsics[:3, 3] = -rotation.T @ position
    return extrinsics


def transform_from_pose(pose: Sequence[float]) -> Tensor:
    """Computes the transform (4,4) float64 from a frame to the one in which its pose is given.

    Args:
        pose: x, y, z in metres and quaternion x, y, z, w.

    Raises:
        TinyBevError: the pose is not 7 finite numbers, or its quaternion is not of length 1.
    """
    values = [float(value) for value in pose]
    if len(values) != 7 or not all(math.isfinite(value) for value in values):
        raise TinyBevError(f'pose is {values}; expected 7 finite numbers: x, y, z, qx, qy, qz, qw')
    length = math.hypot(*values[3:])
    if abs(length - 1) > _LENGTH_TOLERANCE:
        raise TinyBevError(
            f'pose is {values}, with a quaternion of length {length:.3g}; expected length 1'
        )
    x, y, z, w = (value / length for value in values[3:])
    transform = torch.eye(4, dtype=torch.float64)
    transform[:3, :3] = torch.tensor(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ],
        dtype=torch.float64,
    )
    transform[:3, 3] = transform.new_tensor(values[:3])
    return transform
