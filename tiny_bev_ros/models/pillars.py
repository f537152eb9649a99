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


@dataclass(frozen=True)
class Pillars:
    """Points sorted by pillar.

    Attributes:
        points: (N, F) float32 points, grouped by pillar, each group in the order of the cloud.
        pillar: (N,) int64 index of the pillar of each point, 0 to P - 1; ascending.
        counts: (P,) int64 number of points of each pillar; none is 0.
        cells: (P, 2) int64 [row, col] of each pillar; sorted by row, then column.
    """

    points: Tensor
    pillar: Tensor
    counts: Tensor
    cells: Tensor


def pillarize(points: Tensor, grid: BevGrid) -> Pillars:
    """Sorts points into the pillars of a grid, dropping those outside.

    A cell includes its lower edge and excludes its upper one, in z as well: the whole z_range is
    one cell of the voxel generator of OpenPCDet. Indices are computed in float32, as there.

    Args:
        points: (N, F) float32 [x, y, z, ...].
        grid: grid of the pillars.
    """
    rows, cols = grid.shape
    z_low, z_high = grid.z_range
    low = points.new_tensor([grid.x_range[0], grid.y_range[0], z_low])
    # A tensor, as CUDA divides by a Python number by multiplying with its rounded inverse.
    size = points.new_tensor([grid.resolution, grid.resolution, z_high - z_low])
    col, row, layer = ((points[:, :3] - low) / size).floor().unbind(1)
    inside = (col >= 0) & (col < cols) & (row >= 0) & (row < rows) & (layer == 0)
    inside_index = inside.nonzero().squeeze(1)
    cell = row[inside_index].long() * cols + col[inside_index].long()
    cell, order = cell.sort(stable=True)
    cell, pillar, counts = cell.unique_consecutive(return_inverse=True, return_counts=True)
    cells = torch.stack([cell.div(cols, rounding_mode='floor'), cell % cols], dim=1)
    return Pillars(points[inside_index[order]], pillar, counts, cells)


def keep_first(pillars: Pillars, max_points: int) -> Pillars:
    """Keeps the first ``max_points`` points of each pillar, in the order of the cloud."""
    first = pillars.counts.cumsum(0) - pillars.counts
    rank = torch.arange(len(pillars.pillar), device=first.device) - first[pillars.pillar]
    kept = rank < max_points
    return Pillars(
        pillars.points[kept],
        pillars.pillar[kept],
        pillars.counts.clamp(max=max_points),
        pillars.cells,
    )


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
