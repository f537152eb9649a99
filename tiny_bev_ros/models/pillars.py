# SPDX-License-Identifier: Apache-2.0
"""Points to pillars and back to a map: everything around the network, without weights.

Lang et al., "PointPillars: Fast Encoders for Object Detection from Point Clouds",
CVPR 2019, section 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tiny_bev_ros.grid import BevGrid


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
    size = points.new_tensor([grid.cell, grid.cell, z_high - z_low])
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


def scatter(features: Tensor, cells: Tensor, shape: tuple[int, int]) -> Tensor:
    """Puts pillars on the map, the pseudo-image; other cells are 0.

    Args:
        features: (P, C).
        cells: (P, 2) int64 [row, col], each at most once.
        shape: (H, W) of the map.

    Returns:
        (1, C, H, W), of the dtype of the features.
    """
    rows, cols = shape
    canvas = features.new_zeros(features.shape[1], rows * cols)
    canvas[:, cells[:, 0] * cols + cells[:, 1]] = features.t()
    return canvas.view(1, -1, rows, cols)
