# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Attention to a few positions that each query chooses, in features of several strides."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from tiny_bev_ros.models.layers import check_divisible_by_heads, is_exporting


class DeformableAttention(nn.Module):
    """Multi-scale deformable attention, by ``grid_sample`` alone.

    Zhu et al., "Deformable DETR", ICLR 2021. Positions outside a map contribute zeros.

    Args:
        channels: number of channels of queries, maps and output; a multiple of ``heads``.
        heads: number of attention heads, each with positions of its own.
        levels: number of maps.
        points: number of positions of each head in each map.

    Raises:
        TinyBevError: ``channels`` is not a multiple of ``heads``.
    """

    def __init__(self, channels: int, heads: int, levels: int, points: int) -> None:
        super().__init__()
        check_divisible_by_heads('channels', channels, heads)
        self.heads, self.levels, self.points = heads, levels, points
        self.offsets = nn.Linear(channels, heads * levels * points * 2)
        self.weights = nn.Linear(channels, heads * levels * points)
        self.values = nn.Linear(channels, channels)
        self.output = nn.Linear(channels, channels)
        self._init_offsets()

    def forward(self, queries: Tensor, centres: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Lets each query attend to the maps.

        Args:
            queries: (B,N,C) tokens.
            centres: (B or 1,N,2) float32 or wider: x and y around which each query samples, from
                0 to 1 between the outer edges of the maps. Half precision is too coarse here.
            maps: features (B,C,h,w) of each level, of any sizes.

        Returns:
            (B,N,C) attended values.
        """
        batch, number, channels = queries.shape
        heads, levels, points = self.heads, self.levels, self.points
        offsets = self.offsets(queries).view(batch, number, heads, levels, points, 2)
        weights = self.weights(queries).view(batch, number, heads, levels * points).softmax(3)
        # To (B*heads, 1, N, levels*points), the layout of the samples below.
        weights = weights.permute(0, 2, 1, 3).flatten(0, 1)[:, None]
        # Offsets count cells of each map, so that coarse maps reach farther.
        at = centres[:, :, None, None, None] + offsets / _sizes(maps, centres)[:, None]
        at = (2 * at - 1).permute(3, 0, 2, 1, 4, 5).flatten(1, 2)
        # Levels are summed one by one, as the samples of all of them take much memory.
        parts = []
        for each, where, weight in zip(maps, at, weights.split(points, dim=3), strict=True):
            rows, cols = each.shape[2:]
            values = self.values(each.flatten(2).transpose(1, 2)).transpose(1, 2)
            values = values.reshape(batch * heads, channels // heads, rows, cols).to(at.dtype)
            sampled = grid_sample(values, where, padding_mode='zeros', align_corners=False)
            parts.append((sampled * weight).sum(3))
        attended = torch.stack(parts).sum(0).to(queries.dtype).view(batch, channels, number)
        return self.output(attended.transpose(1, 2))

    def _init_offsets(self) -> None:
        """Initialises each head with a direction of its own, each point one cell farther."""
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        directions = torch.stack([angle.cos(), angle.sin()], dim=1)
        directions = directions / directions.abs().amax(dim=1, keepdim=True)
        steps = torch.arange(1, self.points + 1)
        offsets = directions[:, None, None] * steps[None, None, :, None]
        with torch.no_grad():
            self.offsets.weight.mul_(0.1)
            self.offsets.bias.copy_(offsets.expand(-1, self.levels, -1, -1).flatten())


def _sizes(maps: Sequence[Tensor], like: Tensor) -> Tensor:
    """Returns (levels, 2) columns and rows of each map, made on the device without a copy."""
    sides = [side for each in maps for side in (each.shape[3], each.shape[2])]
    if is_exporting():  # where a number that fills a tensor becomes a constant
        return torch.cat([side * like.new_ones(1) for side in sides]).view(-1, 2)
    return torch.cat([like.new_full((1,), side) for side in sides]).view(-1, 2)
