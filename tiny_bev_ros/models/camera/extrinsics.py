# SPDX-License-Identifier: Apache-2.0
"""Where a camera is mounted: its pose, as transforms give it, to what `Camera` needs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tiny_bev_ros.errors import TinyBevError

# Of a camera in its own frame.
STILL = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
# How far from 1 the length of a quaternion may be: of numbers that are rounded to three places.
_LENGTH = 0.01


def from_pose(pose: Sequence[float]) -> Tensor:
    """The `from_points` of a Camera: from the frame of points to the optical one.

    Args:
        pose: x, y, z in metres and the quaternion x, y, z, w of the optical frame (x right,
            y down, z ahead) in the frame of points: what `tf2_echo POINTS OPTICAL` shows.

    Returns:
        (4,4) float64, rotation and translation.

    Raises:
        TinyBevError: not 7 finite numbers, or the quaternion is not of length 1.
    """
    values = [float(value) for value in pose]
    if len(values) != 7 or not all(math.isfinite(value) for value in values):
        raise TinyBevError(f'pose is {values}; expected 7 finite numbers: x, y, z, qx, qy, qz, qw')
    length = math.hypot(*values[3:])
    if abs(length - 1) > _LENGTH:
        raise TinyBevError(
            f'pose is {values}, with a quaternion of length {length:.3g}; expected length 1'
        )
    x, y, z, w = (value / length for value in values[3:])
    to_points = torch.tensor(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ],
        dtype=torch.float64,
    )
    mount = torch.eye(4, dtype=torch.float64)
    mount[:3, :3] = to_points.T
    mount[:3, 3] = -to_points.T @ to_points.new_tensor(values[:3])
    return mount
