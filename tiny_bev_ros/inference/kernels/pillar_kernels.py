# SPDX-License-Identifier: Apache-2.0
"""Points to the features of their pillars, without a row for each point."""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.inference.kernels.simd import jit, larger, load, splat, store
from tiny_bev_ros.inference.sparse.row_padding import WIDTH


@jit
def count_points(
    points: np.ndarray, low: np.ndarray, size: np.ndarray, cell: np.ndarray, counts: np.ndarray
) -> int:
    """Finds the cell of each point, and counts the points of each cell.

    Args:
        points: (N, >= 3) float32, finite.
        low: (3,) float32, lower corner of the grid.
        size: (3,) float32, of a cell.
        cell: (N,) int32, gets row * W + col, -1 outside.
        counts: (H, W) int32, all 0; gets the points of each cell.

    Returns:
        How many cells have a point.
    """
    height, width = counts.shape
    pillars = 0
    for i in range(points.shape[0]):
        x = np.floor((points[i, 0] - low[0]) / size[0])
        y = np.floor((points[i, 1] - low[1]) / size[1])
        z = np.floor((points[i, 2] - low[2]) / size[2])
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
    """Numbers the pillars by row, then column, and brings their points together.

    Args:
        cell: of `count_points`.
        counts: of `count_points`; is cleared.
        cells: (P, 2) int64, gets [row, col] of each pillar.
        ends: (P + 1,) int64, gets where the points of each pillar end in ``order``, from 1 on.
        order: (N,) int32, gets the points, those of one pillar in the order of the cloud.
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
                # The first of them for now; one further with each point.
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
    by_point: np.ndarray,
    by_centre: np.ndarray,
    by_mean: np.ndarray,
    shift: np.ndarray,
    out: np.ndarray,
) -> None:
    """relu(max over the points of (by_point p) + what all points of the pillar share).

    Args:
        points: (N, F) float32.
        cells: of `sort_points`.
        ends: of `sort_points`.
        order: of `sort_points`.
        max_points: of a pillar; the first count. One with fewer holds a row of zeros too. 0 for
            all points, and no such row.
        x_axis: (origin, step) of the centres of cells.
        y_axis: likewise.
        z_middle: of the grid.
        by_point: (F * C,), weights of a point, its x, y, z counted from the cell's centre.
        by_centre: (3 * C,), of the centre.
        by_mean: (3 * C,), of the mean of the points, counted from the centre.
        shift: (C,), of the batch norm.
        out: (P * C,), gets the features; C is a multiple of rows.WIDTH.
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
                value = splat(points[point, 0] - centre[0]) * load(by_point, c)
                for axis in range(1, 3):
                    offset = splat(points[point, axis] - centre[axis])
                    value = value + offset * load(by_point, axis * channels + c)
                for extra in range(3, values):
                    weight = load(by_point, extra * channels + c)
                    value = value + splat(points[point, extra]) * weight
                most = larger(most, value)
            shared = load(shift, c)
            for axis in range(3):
                shared = shared + splat(centre[axis]) * load(by_centre, axis * channels + c)
                shared = shared + splat(mean[axis]) * load(by_mean, axis * channels + c)
            most = larger(most + shared, splat(0))
            if fewer:
                most = larger(most, load(shift, c))
            store(out, pillar * channels + c, most)
