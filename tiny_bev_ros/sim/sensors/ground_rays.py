# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Single rays against a height map, compiled by numba."""

from __future__ import annotations

import math

import numpy as np

from tiny_bev_ros.sim.sensors.half_spaces import jit

# Steepest slope of the ground apart from kerbs, and the highest kerb in metres.
_STEEPEST, _KERB = 1.0, 0.3
_FIRST_STEP = 0.1


@jit
def _height(heights: np.ndarray, x: float, y: float) -> float:
    """Returns the ground height at a position in cells, interpolated between centres."""
    rows, cols = heights.shape
    x, y = min(max(x, 0.0), cols - 1.001), min(max(y, 0.0), rows - 1.001)
    col, row = int(x), int(y)
    x, y = x - col, y - row
    below = heights[row, col] * (1 - x) + heights[row, col + 1] * x
    above = heights[row + 1, col] * (1 - x) + heights[row + 1, col + 1] * x
    return below * (1 - y) + above * y


@jit
def trace_ground(
    heights: np.ndarray,
    corner: np.ndarray,
    cell: float,
    origin: np.ndarray,
    ray_x: float,
    ray_y: float,
    slope: float,
    limit: float,
) -> tuple[float, float]:
    """Returns where a ray meets the ground, and the slope of the ground along the ray.

    Args:
        heights: (H,W) float32 heights, as in `lidar_rays.cast_ground`.
        corner: (2,) [x, y] of the lower edges of the map, in metres.
        cell: side of a cell in metres.
        origin: (3,) origin of the ray in the map's frame.
        ray_x: x of the horizontal direction of the ray, which has length 1.
        ray_y: y of the horizontal direction of the ray.
        slope: rise of the ray per horizontal metre.
        limit: horizontal range limit in metres.

    Returns:
        Horizontal distance in metres, infinite beyond the limit, and rise over run.
    """
    x, y = (origin[0] - corner[0]) / cell - 0.5, (origin[1] - corner[1]) / cell - 0.5
    before, above_before, reach = 0.0, origin[2] - _height(heights, x, y), _FIRST_STEP
    while before < limit:
        x = (origin[0] + reach * ray_x - corner[0]) / cell - 0.5
        y = (origin[1] + reach * ray_y - corner[1]) / cell - 0.5
        above = origin[2] + slope * reach - _height(heights, x, y)
        if above <= 0:
            fraction = above_before / (above_before - above)
            rise = slope + (above_before - above) / (reach - before)
            return before + (reach - before) * fraction, rise
        before, above_before = reach, above
        # Step within which the ground cannot rise to the ray.
        safe = (above - _KERB) / (abs(slope) + _STEEPEST)
        reach += max(0.1, 0.008 * reach, safe)
    return math.inf, 0.0
