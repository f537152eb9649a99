# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""ProjectedAttention: BEV cells attend to the pixels onto which points above them project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.camera.geometry import Camera
from tiny_bev_ros.models.layers import check_divisible_by_heads
from tiny_bev_ros.models.single_entry_cache import SingleEntryCache
from tiny_bev_ros.models.tokens import camera_tokens

# Cells that are processed at once, so that their data stay in a CPU's cache.
_CELLS_AT_ONCE = 2048


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

    def parts(self) -> Iterator[tuple[slice, slice, int]]:
        """Yields a few cells at a time, their entries, and the number of entries per cell."""
        cell = entry = 0
        for cells, per_cell in self.groups:
            for begin in range(0, cells, _CELLS_AT_ONCE):
                count = min(_CELLS_AT_ONCE, cells - begin)
                yield slice(cell, cell + count), slice(entry, entry + count * per_cell), per_cell
                cell, entry = cell + count, entry + count * per_cell


class ProjectedAttention(nn.Module):
    """Cross-attention of each cell to the camera features at its projected reference points.

    As in FUTR3D (Chen et al., CVPRW 2023), with attention over the samples in place of a mean.
    Work and memory grow with the number of samples, not with cells times pixels.

    Args:
        channels: number of channels of queries and output; a multiple of ``heads``.
        camera_channels: number of channels of the camera features.
        heads: number of attention heads.
        heights: heights of the reference points above the frame's origin, in metres.

    Raises:
        TinyBevError: ``channels`` is not a multiple of ``heads``, or there are no heights.
    """

    def __init__(
        self, channels: int, camera_channels: int, heads: int, heights: tuple[float, ...]
    ) -> None:
        super().__init__()
        check_divisible_by_heads('channels', channels, heads)
        if not heights:
            raise TinyBevError('heights are empty; expected at least one, in metres')
        self.heads, self.heights = heads, heights
        self.queries = nn.Linear(channels, channels)
        # No bias: it would add the same to all logits of a query, which softmax ignores.
        self.keys = nn.Linear(camera_channels, channels, bias=False)
        self.values = nn.Linear(camera_channels, channels)
        self.height_embedding = nn.Parameter(torch.randn(len(heights), channels) * 0.02)
        self.output = nn.Linear(channels, channels)
        self._plan: SingleEntryCache[SamplingPlan] = SingleEntryCache()

    def cells(
        self, grid: BevGrid, cameras: Sequence[Camera | None], device: torch.device
    ) -> Tensor:
        """Returns (S,) int64 indices of the cells that attend, as ordered in `sampling_plan`."""
        return self.sampling_plan(grid, cameras, device).cell

    def forward(
        self,
        queries: Tensor,
        grid: BevGrid,
        features: Sequence[Tensor],
        cameras: Sequence[Camera | None],
    ) -> Tensor:
        """Computes the attended values of the cells of one frame.

        Args:
            queries: (S,C) of the `cells` that attend, at least one.
            grid: grid of the cells.
            features: K maps (c,h,w), one for each camera.
            cameras: K cameras of images of the size of their features; None for a missing one,
                whose features are ignored.

        Returns:
            (S,C) attended values.
        """
        plan = self.sampling_plan(grid, cameras, queries.device)
        table = camera_tokens(features, cameras)
        mixed = [
            self._project_values(weights.to(samples.dtype) @ samples)
            for weights, samples in self._attention_parts(queries, plan, table)
        ]
        return self.output(torch.cat(mixed))

    def weights(
        self,
        queries: Tensor,
        grid: BevGrid,
        features: Sequence[Tensor],
        cameras: Sequence[Camera | None],
    ) -> Tensor:
        """Computes (M,heads) weights of the entries of the plan; arguments as of `forward`."""
        plan = self.sampling_plan(grid, cameras, queries.device)
        if not len(plan.cell):
            return queries.new_zeros(0, self.heads)
        parts = self._attention_parts(queries, plan, camera_tokens(features, cameras))
        return torch.cat([weights.transpose(1, 2).flatten(0, 1) for weights, _ in parts])

    def sampling_plan(
        self, grid: BevGrid, cameras: Sequence[Camera | None], device: torch.device
    ) -> SamplingPlan:
        """Returns the samples for each cell; cached for the same grid, cameras and device."""
        key = (grid, device, *(camera and camera.key() for camera in cameras))
        return self._plan.get(key, lambda: _build_plan(grid, self.heights, cameras, device))

    def _attention_parts(
        self, queries: Tensor, plan: SamplingPlan, table: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields weights (S,heads,E) and their samples (S,E,c), a few cells at a time."""
        for cells, entries, per_cell in plan.parts():
            samples = _sample(table, plan, entries).unflatten(0, (-1, per_cell))
            yield self._weights(queries[cells], samples, plan.height[entries]), samples

    def _weights(self, queries: Tensor, samples: Tensor, height: Tensor) -> Tensor:
        """Computes (S,heads,E) weights of queries (S,C) for samples (S,E,c) at heights (S*E,).

        The key projection is folded into the query: one matrix product for each cell in place of
        one for each entry.
        """
        split = self.queries(queries).unflatten(1, (self.heads, -1)).transpose(0, 1)
        feature_query = split @ self.keys.weight.unflatten(0, (self.heads, -1))
        height_logits = split @ self.height_embedding.unflatten(1, (self.heads, -1)).permute(
            1, 2, 0
        )
        logits = feature_query.transpose(0, 1) @ samples.transpose(1, 2)
        index = height.view(len(samples), 1, -1).expand_as(logits)
        logits = logits + height_logits.transpose(0, 1).gather(2, index)
        # At least float32, as half precision is too coarse for sums of many exponentials.
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return (logits / split.shape[2] ** 0.5).softmax(dim=2)

    def _project_values(self, mixed: Tensor) -> Tensor:
        """Projects weighted sums of samples (S,heads,c), one for each head, to values (S,C)."""
        weight = self.values.weight.unflatten(0, (self.heads, -1)).transpose(1, 2)
        return (mixed.transpose(0, 1) @ weight).transpose(0, 1).flatten(1) + self.values.bias


def _build_plan(
    grid: BevGrid,
    heights: tuple[float, ...],
    cameras: Sequence[Camera | None],
    device: torch.device,
) -> SamplingPlan:
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


def _sample(table: Tensor, plan: SamplingPlan, entries: slice) -> Tensor:
    """Interpolates features (M,c) between rows of the table."""
    weights = plan.corner_weights[entries].to(table.dtype)
    return embedding_bag(plan.corner[entries], table, per_sample_weights=weights, mode='sum')
