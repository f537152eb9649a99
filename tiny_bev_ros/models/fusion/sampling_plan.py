# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""SamplingPlan: positions in camera features that each BEV cell samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.camera.geometry import Camera


class SamplingPlan(NamedTuple):
    """Samples of camera features for each cell; an entry is a reference point in one camera.

    Cells with equally many entries follow each other, and entries follow the order of their
    cells, so that each group of cells has a rectangular table of entries.

    Attributes:
        cell: (S,) int64 indices of the cells that are visible to a camera.
        groups: for each group, its number of cells, and the number of entries per cell.
        height: (M,) int64 index of the height of each entry.
        camera: (M,) int64 index of the camera of each entry.
        corner: (M,4) int64 indices of the features around each entry, among those of all cameras.
        corner_weights: (M,4) float32 bilinear weights of these features.
        cameras_without_cells: indices of the cameras to which no cell is visible.
    """

    cell: Tensor
    groups: tuple[tuple[int, int], ...]
    height: Tensor
    camera: Tensor
    corner: Tensor
    corner_weights: Tensor
    cameras_without_cells: tuple[int, ...]

    def entry_cells(self) -> Tensor:
        """Returns the (M,) int64 index of the cell of each entry."""
        parts = self.cell.split([cells for cells, _ in self.groups])
        repeated = [p.repeat_interleave(n) for p, (_, n) in zip(parts, self.groups, strict=True)]
        return torch.cat(repeated) if repeated else self.cell

    def blocks(self, size: int) -> Iterator[Block]:
        """Yields blocks of ``size`` cells; the last one may have fewer."""
        cell = entry = 0
        for groups in _split_groups(self.groups, size):
            last_cell = cell + sum(cells for cells, _ in groups)
            last_entry = entry + sum(cells * per_cell for cells, per_cell in groups)
            yield Block(slice(cell, last_cell), slice(entry, last_entry), groups)
            cell, entry = last_cell, last_entry


class Block(NamedTuple):
    """Cells that are processed at once.

    Attributes:
        cells: slice of the cells of the plan.
        entries: slice of the entries of the plan.
        groups: for each group, its number of cells, and the number of entries per cell.
    """

    cells: slice
    entries: slice
    groups: list[tuple[int, int]]

    @property
    def size(self) -> tuple[int, int]:
        """Number of cells, and number of entries."""
        return (
            self.cells.stop - self.cells.start,
            self.entries.stop - self.entries.start,
        )


def build_plan(
    grid: BevGrid,
    heights: tuple[float, ...],
    cameras: Sequence[Camera | None],
    device: torch.device,
) -> SamplingPlan:
    """Computes the samples for each cell.

    Args:
        grid: grid of the cells.
        heights: heights of the reference points above the frame's origin, in metres.
        cameras: cameras of images of the size of their features; None for a missing one.
        device: device of the plan.
    """
    points = _reference_points(grid, heights)
    # One empty part, so that there is something to concatenate without cameras.
    none = torch.zeros(0, dtype=torch.int64)
    parts = [(none, none, none, none.view(0, 4), torch.zeros(0, 4))]
    first_row, without_cells = 0, []
    for index, camera in enumerate(cameras):
        if camera is None:
            continue
        cell, height = camera.visible(points).nonzero(as_tuple=True)
        if not len(cell):
            without_cells.append(index)
        pixel, _ = camera.project(points[cell, height])
        corner, weights = _bilinear_corners(pixel, camera.size)
        parts.append((cell, height, torch.full_like(cell, index), corner + first_row, weights))
        first_row += camera.size[0] * camera.size[1]
    entry_cell, *others = (torch.cat(columns) for columns in zip(*parts, strict=True))
    cells, cell_of_entry, count = entry_cell.unique(return_inverse=True, return_counts=True)
    by_count = count.argsort(stable=True)
    groups = zip(*(part.tolist() for part in count.unique(return_counts=True)), strict=True)
    # Rank of each cell in the order by count, by which entries are sorted.
    rank = torch.empty_like(by_count)
    rank[by_count] = torch.arange(len(by_count))
    order = rank[cell_of_entry].argsort(stable=True)
    height, camera_index, corner, weights = (column[order].to(device) for column in others)
    return SamplingPlan(
        cells[by_count].to(device),
        tuple((cells_of_group, per_cell) for per_cell, cells_of_group in groups),
        height,
        camera_index,
        corner,
        weights,
        tuple(without_cells),
    )


def _split_groups(groups: Sequence[tuple[int, int]], size: int) -> Iterator[list[tuple[int, int]]]:
    """Yields groups of ``size`` cells in all; divides a group where it does not fit."""
    taken: list[tuple[int, int]] = []
    room = size
    for cells, per_cell in groups:
        rest = cells
        while rest:
            count = min(rest, room)
            taken.append((count, per_cell))
            rest, room = rest - count, room - count
            if not room:
                yield taken
                taken, room = [], size
    if taken:
        yield taken


def _reference_points(grid: BevGrid, heights: tuple[float, ...]) -> Tensor:
    """Returns (cells, heights, 3) float64 x, y, z above and below each cell centre, in metres."""
    rows, cols = grid.shape
    y = grid.y_axis.centre(torch.arange(rows, dtype=torch.float64))
    x = grid.x_axis.centre(torch.arange(cols, dtype=torch.float64))
    z = torch.tensor(heights, dtype=torch.float64)
    at_y, at_x, at_z = torch.meshgrid(y, x, z, indexing='ij')
    return torch.stack([at_x, at_y, at_z], dim=3).view(rows * cols, len(z), 3)


def _bilinear_corners(pixel: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Returns indices (M,4) of the features around pixels (M,2), and bilinear weights (M,4).

    Outside the outermost pixel centres, clamps to the border pixel.
    """
    limit = pixel.new_tensor(size) - 1
    inside = torch.minimum(pixel.clamp(min=0), limit)
    low = inside.floor()
    (right, down), (left, top) = (inside - low).unbind(1), low.long().unbind(1)
    beside = (left + 1).clamp(max=size[0] - 1)
    below = (top + 1).clamp(max=size[1] - 1)
    corner = [row * size[0] + col for row in (top, below) for col in (left, beside)]
    weights = [across * along for across in (1 - down, down) for along in (1 - right, right)]
    return torch.stack(corner, dim=1), torch.stack(weights, dim=1).float()
