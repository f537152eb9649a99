# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Points near boxes, each in the frame of its box: the input of the second stage.

The frame of a box has its origin in the middle of the box's bottom and its first axis along the
length, its second across, its third up. Both horizontal axes point to the side of the box on which
the sensor is. Mirrored objects then have equal inputs, and so do objects whose heading is wrong
by half a turn.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class CropShape(NamedTuple):
    """Extents of a crop, and numbers of points that it keeps.

    Points on the object are sampled apart from those of its surroundings: on the ground around a
    person near the sensor lie several times as many points as on the person.

    Attributes:
        margin: distance from the sides up to which points are near, in metres.
        height_margin: distance in metres below the bottom and above the top up to which points
            are near.
        object_margin: distance in metres from the sides up to which points belong to the object.
        object_floor: height in metres above the bottom from which on points belong to the object.
        object_points: number of points of the object that are kept at most.
        surrounding_points: number of the other points that are kept at most.
    """

    margin: float
    height_margin: float
    object_margin: float
    object_floor: float
    object_points: int
    surrounding_points: int


# Crops of the second stage.
CROP = CropShape(
    margin=1.0,
    height_margin=0.8,
    object_margin=0.5,
    object_floor=0.15,
    object_points=64,
    surrounding_points=24,
)


class BoxCrops(NamedTuple):
    """Points near N boxes, box after box.

    Attributes:
        points: (M,3) float32 positions in the frames of the boxes, in metres.
        counts: (N,) int64 number of points of each box.
    """

    points: Tensor
    counts: Tensor


def crop_axes(boxes: Tensor) -> Tensor:
    """Computes the horizontal axes of the frames of (N,7) boxes.

    Args:
        boxes: boxes in a frame whose origin is the sensor.

    Returns:
        (N,2,2) x and y of the unit vectors along and across each box.
    """
    cos, sin = boxes[:, 6].cos(), boxes[:, 6].sin()
    axes = torch.stack([torch.stack([cos, sin], 1), torch.stack([-sin, cos], 1)], 1)
    to_sensor = -(axes * boxes[:, None, :2]).sum(2)
    return axes * torch.where(to_sensor < 0, -1.0, 1.0)[..., None]
