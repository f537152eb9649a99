# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""DeformableBEVBackbone: cells attend to positions they choose, at three strides."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tiny_bev_ros.models.backbones.deformable_attention import DeformableAttention
from tiny_bev_ros.models.layers import (
    check_divisible_by_heads,
    check_positive_int,
    conv_block,
    mlp,
)
from tiny_bev_ros.models.registry import FeatureInfo, register_backbone
from tiny_bev_ros.models.tokens import from_tokens, to_tokens


@register_backbone('deformable')
class DeformableBEVBackbone(nn.Module):
    """Features at strides 2, 4 and 8, to which every cell at stride 2 attends. Experimental.

    Encoder of Zhu et al., "Deformable DETR", ICLR 2021, with queries at the finest stride alone.
    Cells get no position encoding, so that the result does not depend on the cell's position.

    Experimental: no weights are published and no accuracy was measured.

    Args:
        in_channels: number of channels of the pseudo-image.
        mid_channels: number of channels of features and tokens; a multiple of ``heads``.
        out_channels: number of channels of the output.
        depth: number of attention layers.
        heads: number of attention heads of each layer.
        points: number of positions that a head samples at each stride.

    Attributes:
        chain: leading chain of convolutions, which may run sparsely.

    Raises:
        TinyBevError: an argument is not a whole number above 0, or ``mid_channels`` is not a
            multiple of ``heads``.
    """

    def __init__(
        self,
        in_channels: int = 64,
        mid_channels: int = 64,
        out_channels: int = 128,
        depth: int = 2,
        heads: int = 4,
        points: int = 4,
    ) -> None:
        super().__init__()
        check_positive_int(
            in_channels=in_channels,
            mid_channels=mid_channels,
            out_channels=out_channels,
            depth=depth,
            heads=heads,
            points=points,
        )
        check_divisible_by_heads('mid_channels', mid_channels, heads)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.feature_info = (
            FeatureInfo('chain', mid_channels, stride=2),
            FeatureInfo('level4', mid_channels, stride=4),
            FeatureInfo('level8', mid_channels, stride=8),
            FeatureInfo('widen', out_channels, stride=2),
        )
        self.chain = nn.Sequential(
            conv_block(in_channels, mid_channels, stride=2), conv_block(mid_channels, mid_channels)
        )
        self.level4 = conv_block(mid_channels, mid_channels, stride=2)
        self.level8 = conv_block(mid_channels, mid_channels, stride=2)
        self.layers = nn.ModuleList(_Layer(mid_channels, heads, points) for _ in range(depth))
        self.widen = conv_block(mid_channels, out_channels, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, ceil(H/2), ceil(W/2))."""
        return self.after_chain(self.chain(x))

    def after_chain(self, fine: Tensor) -> Tensor:
        """Output of `chain` (B, mid_channels, h, w) to (B, out_channels, h, w)."""
        middle = self.level4(fine)
        coarse = self.level8(middle)
        rows, cols = fine.shape[2:]
        centres = _cell_centres(rows, cols, fine)
        tokens = to_tokens(fine)
        for layer in self.layers:
            tokens = layer(tokens, centres, [from_tokens(tokens, (rows, cols)), middle, coarse])
        return self.widen(from_tokens(tokens, (rows, cols)))


class _Layer(nn.Module):
    """Attention, then an MLP, each a residual branch with a norm in front."""

    def __init__(self, channels: int, heads: int, points: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attention = DeformableAttention(channels, heads, 3, points)
        self.mlp = mlp(channels)

    def forward(self, tokens: Tensor, centres: Tensor, maps: list[Tensor]) -> Tensor:
        tokens = tokens + self.attention(self.norm(tokens), centres, maps)
        return tokens + self.mlp(tokens)


def _cell_centres(rows: int, cols: int, like: Tensor) -> Tensor:
    """(1, rows*cols, 2) at least float32: x and y of the cell centres, from 0 to 1."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    y = (torch.arange(rows, device=like.device, dtype=dtype) + 0.5) / rows
    x = (torch.arange(cols, device=like.device, dtype=dtype) + 0.5) / cols
    return torch.stack(torch.meshgrid(x, y, indexing='xy'), dim=2).flatten(0, 1)[None]
