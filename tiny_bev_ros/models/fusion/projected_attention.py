# SPDX-License-Identifier: Apache-2.0
"""BEV cells that look where the places above them are seen in cameras."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.camera.geometry import Camera
from tiny_bev_ros.models.checks import check_shared_evenly
from tiny_bev_ros.models.latest import Latest
from tiny_bev_ros.models.tokens import camera_tokens

# Cells that are worked on at once: what they take stays in a CPU's cache.
_AT_ONCE = 2048


class SamplingPlan(NamedTuple):
    """Which cells see what. An entry is a place above a cell that a camera sees.

    Cells that have as many entries as each other stand together, and the entries in the order of
    their cells, so that each group is a table of its own.

    Attributes:
        cell: (S,) int64, indices of the cells that see something.
        groups: how many cells follow each other, with how many entries each.
        height: (M,) int64, which of the heights an entry is of.
        camera: (M,) int64, which of the cameras sees it.
        corner: (M,4) int64, the features around it, as rows of those of all cameras.
        share: (M,4) float32, how much it has of each.
        blind: which of the cameras see no cell at all.
    """

    cell: Tensor
    groups: tuple[tuple[int, int], ...]
    height: Tensor
    camera: Tensor
    corner: Tensor
    share: Tensor
    blind: tuple[int, ...]

    def owner(self) -> Tensor:
        """(M,) int64, index of the cell of each entry."""
        parts = self.cell.split([cells for cells, _ in self.groups])
        each = [p.repeat_interleave(n) for p, (_, n) in zip(parts, self.groups, strict=True)]
        return torch.cat(each) if each else self.cell

    def parts(self) -> Iterator[tuple[slice, slice, int]]:
        """Cells, their entries, and how many each of them has, a few cells at a time."""
        cell = entry = 0
        for cells, each in self.groups:
            for begin in range(0, cells, _AT_ONCE):
                count = min(_AT_ONCE, cells - begin)
                yield slice(cell, cell + count), slice(entry, entry + count * each), each
                cell, entry = cell + count, entry + count * each


class ProjectedAttention(nn.Module):
    """Each cell attends to the features at its projected reference points.

    As FUTR3D does (Chen et al., CVPRW 2023), with attention over what was sampled in place of a
    mean. Work and memory grow with what is seen, not with cells times pixels.

    Args:
        channels: of queries and output; a multiple of ``heads``.
        camera_channels: of the features.
        heads: of the attention.
        heights: of the reference points above and below the frame's origin, in metres.

    Raises:
        TinyBevError: ``channels`` is no multiple of ``heads``, or there are no heights.
    """

    def __init__(
        self, channels: int, camera_channels: int, heads: int, heights: tuple[float, ...]
    ) -> None:
        super().__init__()
        check_shared_evenly('channels', channels, heads)
        if not heights:
            raise TinyBevError('heights are empty; expected at least one, in metres')
        self.heads, self.heights = heads, heights
        self.queries = nn.Linear(channels, channels)
        # A bias of the keys would raise all of a query's logits alike.
        self.keys = nn.Linear(camera_channels, channels, bias=False)
        self.values = nn.Linear(camera_channels, channels)
        self.height = nn.Parameter(torch.randn(len(heights), channels) * 0.02)
        self.output = nn.Linear(channels, channels)
        self._sight: Latest[SamplingPlan] = Latest()

    def cells(
        self, grid: BevGrid, cameras: Sequence[Camera | None], device: torch.device
    ) -> Tensor:
        """(S,) int64 indices of the cells that see something, in the order of the `sight`."""
        return self.sight(grid, cameras, device).cell

    def forward(
        self,
        queries: Tensor,
        grid: BevGrid,
        features: Sequence[Tensor],
        cameras: Sequence[Camera | None],
    ) -> Tensor:
        """What the cells of one frame find.

        Args:
            queries: (S,C), of the `cells` that see something, at least one.
            grid: of the map.
            features: K maps (c,h,w), one of each camera.
            cameras: K, each as of an image of the size of its features; None for one that is
                missing, whose features are not looked at.

        Returns:
            (S,C).
        """
        sight = self.sight(grid, cameras, queries.device)
        found = [
            self._taken(weights.to(sampled.dtype) @ sampled)
            for weights, sampled in self._weighed(queries, sight, camera_tokens(features, cameras))
        ]
        return self.output(torch.cat(found))

    def weights(
        self,
        queries: Tensor,
        grid: BevGrid,
        features: Sequence[Tensor],
        cameras: Sequence[Camera | None],
    ) -> Tensor:
        """(M,heads) how much of each entry of the `sight` its cell takes; arguments as above."""
        sight = self.sight(grid, cameras, queries.device)
        if not len(sight.cell):
            return queries.new_zeros(0, self.heads)
        weighed = self._weighed(queries, sight, camera_tokens(features, cameras))
        return torch.cat([weights.transpose(1, 2).flatten(0, 1) for weights, _ in weighed])

    def sight(
        self, grid: BevGrid, cameras: Sequence[Camera | None], device: torch.device
    ) -> SamplingPlan:
        """Which cells see what; kept for as long as grid and cameras stay as they are."""
        key = (grid, device, *(camera and camera.key() for camera in cameras))
        return self._sight.get(key, lambda: _look(grid, self.heights, cameras, device))

    def _weighed(
        self, queries: Tensor, sight: SamplingPlan, table: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Weights (S,heads,E) and what they are of, (S,E,c), a few cells at a time."""
        for cells, entries, each in sight.parts():
            sampled = _sample(table, sight, entries).unflatten(0, (-1, each))
            yield self._weights(queries[cells], sampled, sight.height[entries]), sampled

    def _weights(self, queries: Tensor, sampled: Tensor, height: Tensor) -> Tensor:
        """(S,heads,E) of queries (S,C) for what each samples, (S,E,c), at heights (S*E,).

        Keys are never made: a cell asks of the features what it would ask of their keys. So the
        products are one for each cell, not for each entry.
        """
        asked = self.queries(queries).unflatten(1, (self.heads, -1)).transpose(0, 1)
        of_features = asked @ self.keys.weight.unflatten(0, (self.heads, -1))
        of_heights = asked @ self.height.unflatten(1, (self.heads, -1)).permute(1, 2, 0)
        logits = of_features.transpose(0, 1) @ sampled.transpose(1, 2)
        place = height.view(len(sampled), 1, -1).expand_as(logits)
        logits = logits + of_heights.transpose(0, 1).gather(2, place)
        # Sums of many exponentials are not for half precision.
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return (logits / asked.shape[2] ** 0.5).softmax(dim=2)

    def _taken(self, mixed: Tensor) -> Tensor:
        """(S,C) values of features (S,heads,c) that each head has mixed."""
        weight = self.values.weight.unflatten(0, (self.heads, -1)).transpose(1, 2)
        return (mixed.transpose(0, 1) @ weight).transpose(0, 1).flatten(1) + self.values.bias


def _look(
    grid: BevGrid,
    heights: tuple[float, ...],
    cameras: Sequence[Camera | None],
    device: torch.device,
) -> SamplingPlan:
    rows, cols = grid.shape
    y = grid.y_axis.centre(torch.arange(rows, dtype=torch.float64))
    x = grid.x_axis.centre(torch.arange(cols, dtype=torch.float64))
    z = torch.tensor(heights, dtype=torch.float64)
    at_y, at_x, at_z = torch.meshgrid(y, x, z, indexing='ij')
    places = torch.stack([at_x, at_y, at_z], dim=3).view(rows * cols, len(z), 3)
    # What is there of one camera that sees nothing, so that there is something to join.
    none = torch.zeros(0, dtype=torch.int64)
    parts = [(none, none, none, none.view(0, 4), torch.zeros(0, 4))]
    row, blind = 0, []
    for index, camera in enumerate(cameras):
        if camera is None:
            continue
        cell, height = camera.sees(places).nonzero(as_tuple=True)
        if not len(cell):
            blind.append(index)
        pixel, _ = camera.project(places[cell, height])
        corner, share = _corners(pixel, camera.size)
        parts.append((cell, height, torch.full_like(cell, index), corner + row, share))
        row += camera.size[0] * camera.size[1]
    cell, *others = (torch.cat(each) for each in zip(*parts, strict=True))
    seen, of, count = cell.unique(return_inverse=True, return_counts=True)
    by_count = count.argsort(stable=True)
    groups = zip(*(each.tolist() for each in count.unique(return_counts=True)), strict=True)
    # The place of each cell in the new order, and of each entry in that of the cells.
    place = torch.empty_like(by_count)
    place[by_count] = torch.arange(len(by_count))
    order = place[of].argsort(stable=True)
    height, camera_of, corner, share = (each[order].to(device) for each in others)
    return SamplingPlan(
        seen[by_count].to(device),
        tuple((cells, each) for each, cells in groups),
        height,
        camera_of,
        corner,
        share,
        tuple(blind),
    )


def _corners(pixel: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Between which four features of a map pixels (M,2) lie, and how much they have of each.

    Beyond the middles of the outer ones, it is they alone.
    """
    limit = pixel.new_tensor(size) - 1
    inside = torch.minimum(pixel.clamp(min=0), limit)
    low = inside.floor()
    (right, down), (left, top) = (inside - low).unbind(1), low.long().unbind(1)
    beside = (left + 1).clamp(max=size[0] - 1)
    below = (top + 1).clamp(max=size[1] - 1)
    corner = [row * size[0] + col for row in (top, below) for col in (left, beside)]
    share = [across * along for across in (1 - down, down) for along in (1 - right, right)]
    return torch.stack(corner, dim=1), torch.stack(share, dim=1).float()


def _sample(table: Tensor, sight: SamplingPlan, entries: slice) -> Tensor:
    """(M,c) features between those of the table."""
    share = sight.share[entries].to(table.dtype)
    return embedding_bag(sight.corner[entries], table, per_sample_weights=share, mode='sum')
