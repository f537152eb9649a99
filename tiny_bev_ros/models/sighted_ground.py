# SPDX-License-Identifier: Apache-2.0
"""Ground as points show it: which cells were looked at, and how high it lies."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from tiny_bev_ros.grid import BevGrid

# How far from a point a cell still counts as looked at, in cells to either side.
REACH = 2
# Every eighth point of a cloud is enough to tell a height by, if so many of them are on road.
_EVERY = 8
_FEWEST = 10


def looked_at(rows: Tensor, cols: Tensor, shape: tuple[int, int]) -> Tensor:
    """(h,w) bool on the CPU: the cells that have one of these in or near them.

    Args:
        rows: (N,) int64, within the shape.
        cols: likewise.
        shape: (h,w) of the map.
    """
    hit = torch.zeros(1, 1, *shape)
    hit[0, 0, rows.cpu(), cols.cpu()] = 1
    return max_pool2d(hit, 2 * REACH + 1, stride=1, padding=REACH)[0, 0] > 0


def road_height(points: np.ndarray, drivable: Tensor, grid: BevGrid) -> float | None:
    """Median height of the points on what is called road, in metres; None where they are few.

    Args:
        points: (N,4+) float32 x, y, z.
        drivable: (h,w) probability of road surface, on the CPU.
        grid: of drivable.
    """
    some = points[::_EVERY]
    col, row = grid.x_axis.index(some[:, 0]), grid.y_axis.index(some[:, 1])
    rows, cols = drivable.shape
    inside = (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
    road = drivable.numpy()[row[inside].astype(np.int64), col[inside].astype(np.int64)] >= 0.5
    heights = some[inside, 2][road]
    return float(np.median(heights)) if len(heights) >= _FEWEST else None


def standing_height(boxes: Tensor) -> float | None:
    """Median height of what (N,7) boxes stand on, in metres; None without a box."""
    if not len(boxes):
        return None
    return float((boxes[:, 2] - boxes[:, 5] / 2).median())
