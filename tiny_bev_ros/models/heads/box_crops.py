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

# Number of points near a box that are kept at most.
MAX_POINTS = 64
# Distances in metres up to which points are near: from the sides of a box, from bottom and top.
MARGIN, HEIGHT_MARGIN = 1.0, 0.8


class BoxCrops(NamedTuple):
    """Points near N boxes, box after box.

    Attributes:
        points: (M,3) float32 positions in the frames of the boxes, in metres.
        counts: (N,) int64 number of points of each box, at most MAX_POINTS.
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
