# SPDX-License-Identifier: Apache-2.0
"""Ground as points show it: which cells were looked at, and how high it lies."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tiny_bev_ros.grid import BevGrid

# A cell counts as looked at up to so far from a point, in cells to either side.
REACH = 2
# Every sixteenth point of a cloud is enough to tell a height by, if so many of them are on road.
_EVERY = 16
_FEWEST = 10


def looked_at(rows: Tensor, cols: Tensor, shape: tuple[int, int]) -> Tensor:
    """(h,w) bool on the CPU: the cells that have one of these in or near them.

    Args:
        rows: (N,) int64, within the shape.
        cols: likewise.
        shape: (h,w) of the map.
    """
    found = torch.zeros(shape, dtype=torch.bool)
    found[rows.cpu(), cols.cpu()] = True
    # One axis after the other, in place: max_pool2d takes five times as long.
    for axis, size in enumerate(shape):
        hit = found.clone()
        for step in range(1, min(REACH + 1, size)):
            rest = size - step
            found.narrow(axis, step, rest).logical_or_(hit.narrow(axis, 0, rest))
            found.narrow(axis, 0, rest).logical_or_(hit.narrow(axis, step, rest))
    return found


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
