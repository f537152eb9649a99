# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Ground that points reveal: the observed cells, and the height of the road."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.device import copy_to_host

# Distance from a point within which a cell counts as observed, in cells to either side.
REACH = 2
# The height is estimated from every sixteenth point, if at least ten of them lie on road.
_POINT_STEP = 16
_MIN_POINTS = 10


def observed_cells(rows: Tensor, cols: Tensor, shape: tuple[int, int]) -> Tensor:
    """Marks the cells near points.

    Args:
        rows: (N,) int64 row of each point, within the shape.
        cols: (N,) int64 column of each point, within the shape.
        shape: size (h,w) of the map.

    Returns:
        (h,w) bool on the CPU, true for cells within REACH of a point.
    """
    observed = torch.zeros(shape, dtype=torch.bool)
    rows, cols = copy_to_host(rows, cols)
    observed[rows, cols] = True
    # One axis after the other, in place, as max_pool2d takes five times as long.
    for axis, size in enumerate(shape):
        occupied = observed.clone()
        for step in range(1, min(REACH + 1, size)):
            rest = size - step
            observed.narrow(axis, step, rest).logical_or_(occupied.narrow(axis, 0, rest))
            observed.narrow(axis, 0, rest).logical_or_(occupied.narrow(axis, step, rest))
    return observed


def height_samples(points: np.ndarray) -> np.ndarray:
    """Returns the points of (N,3+) that `road_height` uses, as a view."""
    return points[::_POINT_STEP]


def road_height(points: np.ndarray, drivable: Tensor, grid: BevGrid) -> float | None:
    """Returns the median height in metres of the points on predicted road; None for too few.

    Args:
        points: (N,3+) float32 x, y, z.
        drivable: (h,w) probability of road surface, on the CPU.
        grid: grid of the drivable area, in the frame of the points.
    """
    return sampled_road_height(height_samples(points), drivable, grid)


def sampled_road_height(samples: np.ndarray, drivable: Tensor, grid: BevGrid) -> float | None:
    """Returns the height as `road_height` does, of `height_samples`."""
    col, row = grid.x_axis.index(samples[:, 0]), grid.y_axis.index(samples[:, 1])
    rows, cols = drivable.shape
    inside = (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
    road = drivable.numpy()[row[inside].astype(np.int64), col[inside].astype(np.int64)] >= 0.5
    heights = samples[inside, 2][road]
    return float(np.median(heights)) if len(heights) >= _MIN_POINTS else None


def box_bottom_height(boxes: Tensor) -> float | None:
    """Returns the median height in metres of the bottoms of (N,7) boxes; None without a box."""
    if not len(boxes):
        return None
    return float((boxes[:, 2] - boxes[:, 5] / 2).median())
