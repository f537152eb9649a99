# SPDX-License-Identifier: Apache-2.0
"""BEV cells that look where the places above them are seen in cameras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.camera import Camera
from tiny_bev_ros.models.checks import check_shared_evenly


class Sight(NamedTuple):
    """Which cells see what: one entry for each place above a cell that a camera sees.

    Attributes:
        cell: (M,) int64, index of the cell, row by row.
        height: (M,) int64, which of the heights.
        camera: (M,) int64, which of the cameras.
        pixel: (M,2) float32, where in that camera's features, columns first.
    """

    cell: Tensor
    height: Tensor
    camera: Tensor
    pixel: Tensor


class ProjectedAttention(nn.Module):
    """Each cell attends to the features at its projected reference points.

    As FUTR3D does (Chen et al., CVPRW 2023), with attention over what was sampled in place of a
    mean. Memory grows with what is seen, not with cells times pixels.

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
        self._last: tuple[object, Sight] | None = None

    def forward(
        self,
        queries: Tensor,
        grid: BevGrid,
        features: Sequence[Tensor],
        cameras: Sequence[Camera | None],
    ) -> tuple[Tensor, Tensor]:
        """What the cells of one frame find.

        Args:
            queries: (N,C), of the cells of ``grid`` row by row.
            grid: of the cells.
            features: K maps (c,h,w), one of each camera.
            cameras: K, each as of an image of the size of its features; None for one that is
                missing, whose features are not looked at.

        Returns:
            (N,C), zero where nothing is seen, and (N,) bool: where something is.
        """
        sight = self.sight(grid, cameras, queries.device)
        seen = torch.zeros(len(queries), dtype=torch.bool, device=queries.device)
        if not len(sight.cell):
            return torch.zeros_like(queries), seen
        weights, values = self.weigh(queries, features, sight)
        taken = values * self._spread(weights)
        found = taken.new_zeros(len(queries), taken.shape[1]).index_add(0, sight.cell, taken)
        seen[sight.cell] = True
        return self.output(found) * seen[:, None], seen

    def sight(
        self, grid: BevGrid, cameras: Sequence[Camera | None], device: torch.device
    ) -> Sight:
        """Which cells see what; kept for as long as grid and cameras stay as they are."""
        key = (grid, device, *(camera and camera.key() for camera in cameras))
        if self._last is None or self._last[0] != key:
            with torch.inference_mode(False):  # as it may be kept for training
                self._last = key, self._look(grid, cameras, device)
        return self._last[1]

    def _look(
        self, grid: BevGrid, cameras: Sequence[Camera | None], device: torch.device
    ) -> Sight:
        rows, cols = grid.shape
        y = grid.y_axis.centre(torch.arange(rows, dtype=torch.float64))
        x = grid.x_axis.centre(torch.arange(cols, dtype=torch.float64))
        z = torch.tensor(self.heights, dtype=torch.float64)
        at_y, at_x, at_z = torch.meshgrid(y, x, z, indexing='ij')
        places = torch.stack([at_x, at_y, at_z], dim=3).view(rows * cols, len(z), 3)
        parts = []
        for index, camera in enumerate(cameras):
            if camera is None:
                continue
            cell, height = camera.sees(places).nonzero(as_tuple=True)
            pixel, _ = camera.project(places[cell, height])
            parts.append((cell, height, torch.full_like(cell, index), pixel.float()))
        if not parts:
            none = torch.zeros(0, dtype=torch.int64, device=device)
            return Sight(none, none, none, torch.zeros(0, 2, device=device))
        return Sight(*(torch.cat(each).to(device) for each in zip(*parts, strict=True)))

    def weigh(
        self, queries: Tensor, features: Sequence[Tensor], sight: Sight
    ) -> tuple[Tensor, Tensor]:
        """(M,heads) how much of each entry its cell takes, and (M,C) what there is to take."""
        sampled = _sample(features, sight)
        keys = self.keys(sampled) + self.height[sight.height]
        asked = self.queries(queries)[sight.cell]
        logits = (asked * keys).unflatten(1, (self.heads, -1)).sum(2)
        logits = logits / (keys.shape[1] / self.heads) ** 0.5
        # Sums of many exponentials are not for half precision.
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return _softmax(logits, sight.cell, len(queries)), self.values(sampled)

    def _spread(self, weights: Tensor) -> Tensor:
        """(M,heads) to (M,C)."""
        return weights.repeat_interleave(self.output.in_features // self.heads, dim=1)


def _sample(features: Sequence[Tensor], sight: Sight) -> Tensor:
    """(M,c) features at pixels, between cells as they lie."""
    found = features[0].new_zeros(len(sight.cell), len(features[0]))
    for index, each in enumerate(features):
        rows, cols = each.shape[1:]
        mine = (sight.camera == index).nonzero()[:, 0]
        pixel = sight.pixel[mine]
        at = (2 * pixel + 1) / pixel.new_tensor([cols, rows]) - 1
        sampled = grid_sample(
            each[None],
            at[None, None].to(each.dtype),
            padding_mode='border',
            align_corners=False,
        )
        found = found.index_copy(0, mine, sampled[0, :, 0].T)
    return found


def _softmax(logits: Tensor, cell: Tensor, cells: int) -> Tensor:
    """(M,heads), of the entries of each cell."""
    index = cell[:, None].expand_as(logits)
    most = logits.new_full((cells, logits.shape[1]), float('-inf'))
    most = most.scatter_reduce(0, index, logits.detach(), 'amax')
    share = (logits - most[cell]).exp()
    total = share.new_zeros(cells, logits.shape[1]).index_add(0, cell, share)
    return share / total[cell]
