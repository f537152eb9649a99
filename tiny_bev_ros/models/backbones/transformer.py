# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""TransformerBEVBackbone: attention within windows, which shift between layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from tiny_bev_ros.models.layers import (
    check_divisible_by_heads,
    check_positive_int,
    conv_block,
    is_exporting,
    mlp,
)
from tiny_bev_ros.models.registry import FeatureInfo, register_backbone


@register_backbone('transformer')
class TransformerBEVBackbone(nn.Module):
    """Convolutions to stride 2, then a windowed transformer. Experimental.

    Liu et al., "Swin Transformer", ICCV 2021; shifted windows pad the features instead of rolling
    them, so that cells of opposite edges never attend to each other.

    Experimental: no weights are published and no accuracy was measured.

    Args:
        in_channels: number of channels of the pseudo-image.
        mid_channels: number of channels of the tokens; a multiple of ``heads``.
        out_channels: number of channels of the output.
        depth: number of layers; every second one has shifted windows.
        heads: number of attention heads of each layer.
        window: side of a window, in cells of stride 2.

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
        depth: int = 4,
        heads: int = 4,
        window: int = 8,
    ) -> None:
        super().__init__()
        check_positive_int(
            in_channels=in_channels,
            mid_channels=mid_channels,
            out_channels=out_channels,
            depth=depth,
            heads=heads,
            window=window,
        )
        check_divisible_by_heads('mid_channels', mid_channels, heads)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.feature_info = (
            FeatureInfo('chain', mid_channels, stride=2),
            FeatureInfo('widen', out_channels, stride=2),
        )
        self.chain = nn.Sequential(
            conv_block(in_channels, mid_channels, stride=2), conv_block(mid_channels, mid_channels)
        )
        self.layers = nn.ModuleList(
            _Layer(mid_channels, heads, window, shift=window // 2 * (index % 2))
            for index in range(depth)
        )
        self.widen = conv_block(mid_channels, out_channels, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, ceil(H/2), ceil(W/2))."""
        return self.after_chain(self.chain(x))

    def after_chain(self, fine: Tensor) -> Tensor:
        """Output of `chain` (B, mid_channels, h, w) to (B, out_channels, h, w)."""
        cells = fine.permute(0, 2, 3, 1)
        for layer in self.layers:
            cells = layer(cells)
        return self.widen(cells.permute(0, 3, 1, 2))


class _Layer(nn.Module):
    """Attention within windows of cells (B,h,w,C), then an MLP."""

    def __init__(self, channels: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.norm = nn.LayerNorm(channels)
        # No bias: it would add the same to all logits of a query, which softmax ignores.
        self.queries = nn.Linear(channels, channels)
        self.keys = nn.Linear(channels, channels, bias=False)
        self.values = nn.Linear(channels, channels)
        self.output = nn.Linear(channels, channels)
        self.position_bias = nn.Parameter(torch.randn(heads, (2 * window - 1) ** 2) * 0.02)
        self.pairs: Tensor
        self.register_buffer('pairs', _pairs(window), persistent=False)
        self.mlp = mlp(channels)

    def forward(self, cells: Tensor) -> Tensor:
        cells = cells + self._attend(self.norm(cells))
        return cells + self.mlp(cells)

    def _attend(self, cells: Tensor) -> Tensor:
        rows, cols = cells.shape[1:3]
        window, shift = self.window, self.shift
        window_rows = (rows + shift + window - 1) // window
        window_cols = (cols + shift + window - 1) // window
        bottom, right = window_rows * window - rows - shift, window_cols * window - cols - shift
        around = (shift, right, shift, bottom)
        # Exported networks always pad, as no condition may depend on the size.
        is_padded = is_exporting() or any(around)
        padded = pad(cells, (0, 0, *around)) if is_padded else cells
        tokens = _split_windows(padded, window_rows, window_cols, window)
        batch, number = tokens.shape[:2]
        # Windows are part of the batch, as fused kernels take four dimensions alone.
        tokens = tokens.flatten(0, 1)
        queries, keys, values = (
            part(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.queries, self.keys, self.values)
        )
        # One mask for all windows, unless some hold padded cells.
        mask = self.position_bias.to(queries.dtype)[:, self.pairs][None]
        if is_padded:
            outside = pad(mask.new_zeros(1, rows, cols, 1), (0, 0, *around), value=float('-inf'))
            outside = _split_windows(outside, window_rows, window_cols, window)
            mask = mask + outside.view(number, 1, 1, window**2)
            mask = mask.repeat(batch, 1, 1, 1) if is_exporting() or batch > 1 else mask
        attended = scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        attended = self.output(attended.transpose(1, 2).flatten(2))
        attended = attended.reshape(
            batch, window_rows, window_cols, window, window, cells.shape[3]
        )
        attended = _merge_windows(attended)
        return attended[:, shift : shift + rows, shift : shift + cols]


def _pairs(window: int) -> Tensor:
    """(window^2, window^2) int64 index of the offset between each two cells of a window."""
    at = torch.stack(torch.meshgrid(*2 * [torch.arange(window)], indexing='ij')).flatten(1)
    offset = at[:, :, None] - at[:, None, :] + window - 1
    return offset[0] * (2 * window - 1) + offset[1]


def _split_windows(cells: Tensor, window_rows: int, window_cols: int, window: int) -> Tensor:
    """(B,h,w,C) to (B, windows, window^2, C), for numbers of rows and columns of windows."""
    batch, channels = cells.shape[0], cells.shape[3]
    parts = cells.reshape(batch, window_rows, window, window_cols, window, channels)
    return parts.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def _merge_windows(parts: Tensor) -> Tensor:
    """(B, rows of windows, columns of windows, window, window, C) back to (B,h,w,C)."""
    return parts.transpose(2, 3).flatten(3, 4).flatten(1, 2)
