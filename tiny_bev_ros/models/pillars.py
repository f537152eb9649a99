# SPDX-License-Identifier: Apache-2.0
"""Points to pillars and back to a map: everything around the network, without weights.

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
    """Points sorted by the pillar in which they lie.

    Attributes:
        points: (N, F) float32, those of one pillar together, in the order of the cloud.
        pillar: (N,) int64, which of the P pillars each point lies in; ascending.
        counts: (P,) int64, points per pillar; none is 0.
        cells: (P, 2) int64 [row, col] on the grid; sorted by row, then column.
    """

    points: Tensor
    pillar: Tensor
    counts: Tensor
    cells: Tensor


def group(points: Tensor, grid: BevGrid) -> Pillars:
    """Sorts points into the pillars of a grid, leaving out those outside.

    A cell takes its lower edge and not its upper one, in z as well: the whole z_range
    is one cell of the voxel generator that OpenPCDet uses. Indices are computed in
    float32, as there.

    Args:
        points: (N, F) float32 [x, y, z, ...].
        grid: which cells there are.
    """
    rows, cols = grid.shape
    z_low, z_high = grid.z_range
    low = points.new_tensor([grid.x_range[0], grid.y_range[0], z_low])
    # A tensor, for on CUDA dividing by a number multiplies by its rounded inverse.
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
    """What the network sees of each point.

    Args:
        pillars: N points of F values.
        grid: the grid by which they were grouped.
        centre_axes: 2 for the x and y offsets to the centre of the cell, as in the
            paper, or 3 for z too (to the middle of z_range), as in OpenPCDet.
        legacy_offsets: put these offsets in the place of x, y (and z) as well.

    Returns:
        (N, F + 3 + centre_axes) float32: x, y, z and the other values of the point, its
        offset to the mean of its pillar's points, its offset to the centre. In metres.
    """
    xyz = pillars.points[:, :3]
    row, col = pillars.cells.to(xyz.dtype).unbind(1)
    z_middle = torch.full_like(row, (grid.z_range[0] + grid.z_range[1]) / 2)
    centre = torch.stack([grid.x_axis.centre(col), grid.y_axis.centre(row), z_middle], dim=1)
    to_centre = xyz - centre[pillars.pillar]
    # The mean of small offsets loses no digits, that of coordinates does.
    mean = torch.zeros_like(centre).index_add(0, pillars.pillar, to_centre)
    mean = mean / pillars.counts.unsqueeze(1)
    to_mean = to_centre - mean[pillars.pillar]
    to_centre = to_centre[:, :centre_axes]
    points = pillars.points
    if legacy_offsets:
        points = torch.cat([to_centre, points[:, centre_axes:]], dim=1)
    return torch.cat([points, to_mean, to_centre], dim=1)


def check_pillars(features: Tensor, cells: Tensor, shape: tuple[int, int]) -> None:
    """Refuses pillars that do not stand on a map, each at a place of its own.

    Cells on another device than the CPU are waited for.

    Args:
        features: (P, C) of a float dtype.
        cells: (P, 2) int32 or int64 [row, col].
        shape: (H, W) of the map.

    Raises:
        TinyBevError: they are none of these, a cell is outside of the map, or two are alike.
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
    # NumPy takes a tenth of PyTorch's time for so few numbers.
    row, col = cells.cpu().numpy().astype(np.int64, copy=False).T
    if min(row.min(), col.min()) < 0 or row.max() >= rows or col.max() >= cols:
        outside = (row < 0) | (row >= rows) | (col < 0) | (col >= cols)
        pillar = int(outside.argmax())
        raise TinyBevError(
            f'cell of pillar {pillar} is row {row[pillar]}, column {col[pillar]}; '
            f'expected from 0 to below {rows} and {cols}'
        )
    taken = np.zeros(rows * cols, np.bool_)
    place = row * cols + col
    taken[place] = True
    if np.count_nonzero(taken) != len(place):
        place.sort()
        twice = int(place[1:][place[1:] == place[:-1]][0])
        raise TinyBevError(
            f'cell of row {twice // cols}, column {twice % cols} is there more than once; '
            'expected one pillar per place'
        )


def check_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of a map, if it is one."""
    whole = len(shape) == 2 and all(isinstance(size, Integral) and size > 0 for size in shape)
    if not whole or math.prod(shape) > MAX_CELLS:
        raise TinyBevError(
            f'shape of the map is {tuple(shape)}; expected whole numbers (H, W) above 0, '
            f'{MAX_CELLS} cells at most'
        )
    return shape


def scatter(features: Tensor, cells: Tensor, shape: tuple[int, int]) -> Tensor:
    """Puts pillars on the map, the pseudo-image; other cells are 0.

    Args:
        features: (P, C).
        cells: (P, 2) int64 [row, col], each at most once.
        shape: (H, W) of the map.

    Returns:
        (1, C, H, W), of the dtype of the features.

    Raises:
        TinyBevError: see `check_pillars`.
    """
    check_pillars(features, cells, shape)
    return scatter_checked(features, cells, shape)


def scatter_checked(features: Tensor, cells: Tensor, shape: tuple[int, int]) -> Tensor:
    """Scatters pillars that are known to be right, without waiting for a device."""
    rows, cols = shape
    canvas = features.new_zeros(features.shape[1], rows * cols)
    canvas[:, cells[:, 0] * cols + cells[:, 1]] = features.t()
    return canvas.view(1, -1, rows, cols)
