# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Points to pillar features in one pass, without a matrix of decorated points."""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.inference.kernels.simd import jit, load, maximum, splat, store
from tiny_bev_ros.inference.sparse.row_padding import WIDTH


@jit
def count_points(
    points: np.ndarray, lower: np.ndarray, size: np.ndarray, cell: np.ndarray, counts: np.ndarray
) -> int:
    """Computes the cell of each point, and counts the points of each cell.

    Args:
        points: (N, >= 3) float32 x, y, z, ..., finite.
        lower: (3,) float32, lower corner of the grid, in metres.
        size: (3,) float32, size of a cell, in metres.
        cell: (N,) int32; receives row * W + col of each point, -1 outside the grid.
        counts: (H, W) int32, all 0; receives the number of points in each cell.

    Returns:
        Number of cells with a point.
    """
    height, width = counts.shape
    pillars = 0
    for i in range(points.shape[0]):
        x = np.floor((points[i, 0] - lower[0]) / size[0])
        y = np.floor((points[i, 1] - lower[1]) / size[1])
        z = np.floor((points[i, 2] - lower[2]) / size[2])
        cell[i] = -1
        if 0 <= x < width and 0 <= y < height and z == 0:
            row, col = np.int64(y), np.int64(x)
            pillars += counts[row, col] == 0
            counts[row, col] += 1
            cell[i] = row * width + col
    return pillars


@jit
def sort_points(
    cell: np.ndarray, counts: np.ndarray, cells: np.ndarray, ends: np.ndarray, order: np.ndarray
) -> None:
    """Lists the pillars by row, then column, and sorts the points by pillar.

    Args:
        cell: (N,) cell of each point, from `count_points`.
        counts: (H, W) points of each cell, from `count_points`; is cleared.
        cells: (P, 2) int64; receives [row, col] of each pillar.
        ends: (P + 1,) int64; receives 0 and the end of each pillar's points in ``order``.
        order: (N,) int32; receives indices of points, within a pillar in the order of the cloud.
    """
    height, width = counts.shape
    pillar, total = 0, 0
    ends[0] = 0
    for row in range(height):
        for col in range(width):
            if counts[row, col]:
                cells[pillar, 0] = row
                cells[pillar, 1] = col
                pillar += 1
                # Starts at the pillar's first point and advances with each point.
                ends[pillar] = total
                total += counts[row, col]
                counts[row, col] = pillar
    for i in range(cell.shape[0]):
        if cell[i] >= 0:
            pillar = counts[cell[i] // width, cell[i] % width]
            order[ends[pillar]] = i
            ends[pillar] += 1
    for i in range(cells.shape[0]):
        counts[cells[i, 0], cells[i, 1]] = 0


@jit
def pillar_features(
    points: np.ndarray,
    cells: np.ndarray,
    ends: np.ndarray,
    order: np.ndarray,
    max_points: int,
    x_axis: tuple[float, float],
    y_axis: tuple[float, float],
    z_middle: float,
    point_weight: np.ndarray,
    centre_weight: np.ndarray,
    mean_weight: np.ndarray,
    shift: np.ndarray,
    out: np.ndarray,
) -> None:
    """Computes relu(max over the points of (point_weight p) + offset of the pillar).

    Args:
        points: (N, F) float32.
        cells: (P, 2) cells of the pillars, from `sort_points`.
        ends: (P + 1,) ends of their points, from `sort_points`.
        order: (N,) sorted points, from `sort_points`.
        max_points: maximum number of points per pillar; the first are kept. A pillar with fewer
            gets one row of zeros in addition, as in a padded net. 0 keeps all points, without that
            row.
        x_axis: (origin, step) of the cells' centres along x, in metres.
        y_axis: (origin, step) of the cells' centres along y, in metres.
        z_middle: middle of the grid's z range, in metres.
        point_weight: (F * C,) weights of a point, its x, y, z relative to the cell's centre.
        centre_weight: (3 * C,) weights of the centre.
        mean_weight: (3 * C,) weights of the mean of the points, relative to the centre.
        shift: (C,) shift of the batch norm.
        out: (P * C,); receives the features; C is a multiple of `row_padding.WIDTH`.
    """
    channels, values = shift.shape[0], points.shape[1]
    centre, mean = np.empty(3, np.float32), np.empty(3, np.float32)
    for pillar in range(cells.shape[0]):
        centre[0] = x_axis[0] + cells[pillar, 1] * x_axis[1]
        centre[1] = y_axis[0] + cells[pillar, 0] * y_axis[1]
        centre[2] = z_middle
        begin, end = ends[pillar], ends[pillar + 1]
        fewer = end - begin < max_points
        if max_points:
            end = min(end, begin + max_points)
        for axis in range(3):
            total = np.float32(0)
            for i in range(begin, end):
                total += points[order[i], axis] - centre[axis]
            mean[axis] = total / np.float32(end - begin)
        for c in range(0, channels, WIDTH):
            most = splat(-np.inf)
            for i in range(begin, end):
                point = order[i]
                value = splat(points[point, 0] - centre[0]) * load(point_weight, c)
                for axis in range(1, 3):
                    offset = splat(points[point, axis] - centre[axis])
                    value = value + offset * load(point_weight, axis * channels + c)
                for extra in range(3, values):
                    weight = load(point_weight, extra * channels + c)
                    value = value + splat(points[point, extra]) * weight
                most = maximum(most, value)
            shared = load(shift, c)
            for axis in range(3):
                shared = shared + splat(centre[axis]) * load(centre_weight, axis * channels + c)
                shared = shared + splat(mean[axis]) * load(mean_weight, axis * channels + c)
            most = maximum(most + shared, splat(0))
            if fewer:
                most = maximum(most, load(shift, c))
            store(out, pillar * channels + c, most)
