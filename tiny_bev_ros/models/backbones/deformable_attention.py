# SPDX-License-Identifier: Apache-2.0
"""Attention that looks at a few places which each query chooses, in maps of several strides."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from tiny_bev_ros.models.checks import check_shared_evenly


class DeformableAttention(nn.Module):
    """Multi-scale deformable attention, by ``grid_sample`` alone.

    Zhu et al., "Deformable DETR", ICLR 2021. What lies outside a map counts as zero.

    Args:
        channels: of queries, maps and output; a multiple of ``heads``.
        heads: that choose their places on their own.
        levels: how many maps there are.
        points: places in each map, of each head.

    Raises:
        TinyBevError: ``channels`` is no multiple of ``heads``.
    """

    def __init__(self, channels: int, heads: int, levels: int, points: int) -> None:
        super().__init__()
        check_shared_evenly('channels', channels, heads)
        self.heads, self.levels, self.points = heads, levels, points
        self.offsets = nn.Linear(channels, heads * levels * points * 2)
        self.weights = nn.Linear(channels, heads * levels * points)
        self.values = nn.Linear(channels, channels)
        self.output = nn.Linear(channels, channels)
        self._begin()

    def forward(self, queries: Tensor, places: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """What each query finds.

        Args:
            queries: (B,N,C).
            places: (B or 1,N,2) float32 or wider: x and y around which each query looks, from 0
                to 1 between the outer edges of the maps. Half precision is too coarse for them.
            maps: (B,C,h,w) each, of any sizes.

        Returns:
            (B,N,C).
        """
        batch, number, channels = queries.shape
        heads, levels, points = self.heads, self.levels, self.points
        offsets = self.offsets(queries).view(batch, number, heads, levels, points, 2)
        weights = self.weights(queries).view(batch, number, heads, levels * points).softmax(3)
        # (B*heads, 1, N, levels*points), as the samples below.
        weights = weights.permute(0, 2, 1, 3).flatten(0, 1)[:, None]
        found = []
        for level, each in enumerate(maps):
            rows, cols = each.shape[2:]
            # Offsets are in cells of each map, so that coarse maps reach far.
            at = places[:, :, None, None, :] + offsets[:, :, :, level] / places.new_tensor(
                [cols, rows]
            )
            at = (2 * at - 1).permute(0, 2, 1, 3, 4).flatten(0, 1)
            values = self.values(each.flatten(2).transpose(1, 2)).transpose(1, 2)
            values = values.reshape(batch * heads, channels // heads, rows, cols).to(at.dtype)
            found.append(grid_sample(values, at, padding_mode='zeros', align_corners=False))
        together = (torch.cat(found, dim=3) * weights).sum(3)
        together = together.to(queries.dtype).view(batch, channels, number)
        return self.output(together.transpose(1, 2))

    def _begin(self) -> None:
        """Each head begins with looking in a direction of its own, farther with each point."""
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        ways = torch.stack([angle.cos(), angle.sin()], dim=1)
        ways = ways / ways.abs().amax(dim=1, keepdim=True)
        steps = torch.arange(1, self.points + 1)
        begin = ways[:, None, None] * steps[None, None, :, None]
        with torch.no_grad():
            self.offsets.weight.mul_(0.1)
            self.offsets.bias.copy_(begin.expand(-1, self.levels, -1, -1).flatten())
