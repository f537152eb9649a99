# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Points to pillars and pillars to a pseudo-image: the parts of PointPillars without weights.

Lang et al., "PointPillars: Fast Encoders for Object Detection from Point Clouds",
CVPR 2019, section 2.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import torch
from torch import Tensor

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import MAX_CELLS, BevGrid
from tiny_bev_ros.models.device import copy_to_device, copy_to_host


@dataclass(frozen=True)
class Pillars:
    """Points sorted by pillar.

    Attributes:
        points: (N, F) float32 points, grouped by pillar, each group in the order of the cloud.
        pillar: (N,) int64 index of the pillar of each point, 0 to P - 1; ascending.
        counts: (P,) int64 number of points of each pillar; none is 0.
        cells: (P, 2) int64 [row, col] of each pillar; sorted by row, then column.
        inside: number of points of the cloud that lie on the grid; N, unless the points of a
            pillar are limited.
    """

    points: Tensor
    pillar: Tensor
    counts: Tensor
    cells: Tensor
    inside: int


def pillarize(points: Tensor, grid: BevGrid, max_points: int | None = None) -> Pillars:
    """Sorts points into the pillars of a grid, dropping those outside.

    A cell includes its lower edge and excludes its upper one, in z as well: the whole z_range is
    one cell of the voxel generator of OpenPCDet. Indices are computed in float32, as there.

    The host waits for the device once, for the numbers of points and pillars.

    Args:
        points: (N, F) float32 [x, y, z, ...].
        grid: grid of the pillars.
        max_points: points that are kept of each pillar, the first of the cloud; None for all.
    """
    rows, cols = grid.shape
    cell = _flat_cells(points, grid)
    if points.device.type == 'cpu':  # where finding points costs less than sorting them
        on_grid = (cell < rows * cols).nonzero().squeeze(1)
        cell, order = cell[on_grid].sort(stable=True)
        order = on_grid[order]
    else:
        cell, order = cell.sort(stable=True)
    inside = cell < rows * cols
    begins = inside.clone()
    begins[1:] &= cell[1:] != cell[:-1]
    pillar = begins.cumsum(0) - 1
    totals = [inside.sum(), begins.sum()]
    index = None
    if max_points is not None:
        index, kept = _first_points(inside, begins, max_points)
        totals.append(kept)
    (found,) = copy_to_host(torch.stack(totals))
    num_inside, num_pillars, *num_kept = found.tolist()
    cell, pillar, order = cell[:num_inside], pillar[:num_inside], order[:num_inside]
    counts = pillar.new_zeros(num_pillars).index_add_(0, pillar, torch.ones_like(pillar))
    # All points of a pillar write the same cell.
    flat = pillar.new_zeros(num_pillars).scatter_(0, pillar, cell.long())
    cells = torch.stack([flat.div(cols, rounding_mode='floor'), flat % cols], dim=1)
    if index is not None and max_points is not None:
        index = index[: num_kept[0]]
        pillar, order, counts = pillar[index], order[index], counts.clamp(max=max_points)
    return Pillars(points[order], pillar, counts, cells, num_inside)


def _flat_cells(points: Tensor, grid: BevGrid) -> Tensor:
    """Returns the cell (N,) int32 of each point, row * W + col, or H * W outside the grid."""
    rows, cols = grid.shape
    lower = (grid.x_range[0], grid.y_range[0], grid.z_range[0])
    size = (grid.resolution, grid.resolution, grid.z_range[1] - grid.z_range[0])
    # In tensors, as CUDA divides by a Python number by multiplying with its rounded inverse.
    numbers = torch.tensor([lower, size, (cols, rows, 1)], dtype=points.dtype)
    low, step, limit = copy_to_device(numbers, points.device)
    index = ((points[:, :3] - low) / step).floor()
    x_inside, y_inside, z_inside = ((index >= 0) & (index < limit)).unbind(1)
    # float32 is exact up to MAX_CELLS.
    inside = x_inside & y_inside & z_inside
    return torch.where(inside, index[:, 1] * cols + index[:, 0], rows * cols).int()


def _first_points(inside: Tensor, begins: Tensor, max_points: int) -> tuple[Tensor, Tensor]:
    """Selects the first points of each pillar.

    Args:
        inside: (N,) bool, true for sorted points on the grid, which come first.
        begins: (N,) bool, true for the first point of each pillar.
        max_points: points that are kept of each pillar.

    Returns:
        Indices (N,) int64 of the selected points, followed by other values, and their number.
    """
    index = torch.arange(len(begins), device=begins.device)
    rank = index - (index * begins).cummax(0).values
    kept = inside & (rank < max_points)
    # Others are all written to one place, behind the last.
    target = torch.where(kept, kept.cumsum(0) - 1, len(index))
    return index.new_zeros(len(index) + 1).scatter_(0, target, index), kept.sum()


def decorate(
    pillars: Pillars, grid: BevGrid, *, centre_axes: int, legacy_offsets: bool = False
) -> Tensor:
    """Computes the network's input for each point.

    Args:
        pillars: N points of F values.
        grid: grid of the pillars.
        centre_axes: 2 for the x and y offsets to the cell centre, as in the paper, or 3 for z too
            (to the middle of z_range), as in OpenPCDet.
        legacy_offsets: replace x, y (and z) by these offsets as well.

    Returns:
        (N, F + 3 + centre_axes) float32: x, y, z and the other values of the point, its offset to
        the mean of its pillar, its offset to the cell centre; lengths in metres.
    """
    xyz = pillars.points[:, :3]
    row, col = pillars.cells.to(xyz.dtype).unbind(1)
    z_middle = torch.full_like(row, (grid.z_range[0] + grid.z_range[1]) / 2)
    centre = torch.stack([grid.x_axis.centre(col), grid.y_axis.centre(row), z_middle], dim=1)
    to_centre = xyz - centre[pillars.pillar]
    # Averages offsets, as an average of large coordinates loses digits.
    mean = torch.zeros_like(centre).index_add(0, pillars.pillar, to_centre)
    mean = mean / pillars.counts.unsqueeze(1)
    to_mean = to_centre - mean[pillars.pillar]
    to_centre = to_centre[:, :centre_axes]
    points = pillars.points
    if legacy_offsets:
        points = torch.cat([to_centre, points[:, centre_axes:]], dim=1)
    return torch.cat([points, to_mean, to_centre], dim=1)


def check_pillars(features: Tensor, cells: Tensor, shape: tuple[int, int]) -> None:
    """Refuses pillars that do not lie on a map, each in a cell of its own.

    Synchronises with the device of the cells.

    Args:
        features: (P, C) features of a float dtype.
        cells: (P, 2) int32 or int64 [row, col].
        shape: size (H, W) of the map.

    Raises:
        TinyBevError: a shape or dtype is another, a cell is outside of the map, or two cells are
            equal.
    """
    if features.ndim != 2 or tuple(cells.shape) != (len(features), 2):
        raise TinyBevError(
            f'features are {tuple(features.shape)} and cells {tuple(cells.shape)}; '
            'expected (P, C) and (P, 2)'
        )
    if not features.is_floating_point():
        raise TinyBevError(f'features are {features.dtype}; expected a float dtype')
    if cells.dtype not in (torch.int32, torch.int64):
        raise TinyBevError(f'cells are {cells.dtype}; expected torch.int64')
    rows, cols = check_shape(shape)
    if not len(cells):
        return
    # NumPy, as it takes a tenth of PyTorch's time for so few numbers.
    row, col = cells.cpu().numpy().astype(np.int64, copy=False).T
    if min(row.min(), col.min()) < 0 or row.max() >= rows or col.max() >= cols:
        outside = (row < 0) | (row >= rows) | (col < 0) | (col >= cols)
        pillar = int(outside.argmax())
        raise TinyBevError(
            f'cell of pillar {pillar} is row {row[pillar]}, column {col[pillar]}; '
            f'expected from 0 to below {rows} and {cols}'
        )
    taken = np.zeros(rows * cols, np.bool_)
    index = row * cols + col
    taken[index] = True
    if np.count_nonzero(taken) != len(index):
        index.sort()
        twice = int(index[1:][index[1:] == index[:-1]][0])
        raise TinyBevError(
            f'cell of row {twice // cols}, column {twice % cols} has more than one pillar; '
            'expected one pillar per cell'
        )


def check_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Returns the size (H, W) of a map.

    Raises:
        TinyBevError: it is not two whole numbers above 0, or has more than MAX_CELLS cells.
    """
    whole = len(shape) == 2 and all(isinstance(size, Integral) and size > 0 for size in shape)
    if not whole or math.prod(shape) > MAX_CELLS:
        raise TinyBevError(
            f'shape of the map is {tuple(shape)}; expected whole numbers (H, W) above 0, '
            f'{MAX_CELLS} cells at most'
        )
    return shape


def scatter(features: Tensor, cells: Tensor, shape: tuple[int, int]) -> Tensor:
    """Scatters pillars into a pseudo-image; other cells are 0.

    Args:
        features: (P, C) features of the pillars.
        cells: (P, 2) int64 [row, col], each at most once.
        shape: size (H, W) of the pseudo-image.

    Returns:
        (1, C, H, W) pseudo-image, in the dtype of the features.

    Raises:
        TinyBevError: see `check_pillars`.
    """
    check_pillars(features, cells, shape)
    return scatter_checked(features, cells, shape)


def scatter_checked(features: Tensor, cells: Tensor, shape: tuple[int, int]) -> Tensor:
    """Scatters pillars without checks, which would synchronise with the device."""
    rows, cols = shape
    canvas = features.new_zeros(features.shape[1], rows * cols)
    canvas[:, cells[:, 0] * cols + cells[:, 1]] = features.t()
    return canvas.view(1, -1, rows, cols)
