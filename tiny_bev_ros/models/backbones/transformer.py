# SPDX-License-Identifier: Apache-2.0
"""TransformerBEVBackbone: attention within windows of the map, which shift between layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from tiny_bev_ros.models.checks import check_positive_int, check_shared_evenly
from tiny_bev_ros.models.layers import conv_block, perceptron
from tiny_bev_ros.models.registry import FeatureInfo, register_backbone


@register_backbone('transformer')
class TransformerBEVBackbone(nn.Module):
    """Convolutions to stride 2, then a transformer in windows of the map.

    Liu et al., "Swin Transformer", ICCV 2021; where windows are shifted, the map is padded
    instead of rolled, so that cells of opposite edges never meet.

    Args:
        in_channels: channels of the pseudo-image.
        mid_channels: channels of tokens; a multiple of ``heads``.
        out_channels: channels of the output.
        depth: layers; every second one has shifted windows.
        heads: of each layer.
        window: cells of stride 2 along the sides of a window.

    Attributes:
        chain: the part that is a chain of convolutions, from the input on.

    Raises:
        TinyBevError: an argument is not a whole number above 0, or ``mid_channels`` no multiple
            of ``heads``.
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
        check_positive_int('in_channels', in_channels)
        check_positive_int('mid_channels', mid_channels)
        check_positive_int('out_channels', out_channels)
        check_positive_int('depth', depth)
        check_positive_int('heads', heads)
        check_positive_int('window', window)
        check_shared_evenly('mid_channels', mid_channels, heads)
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
        """What `chain` gives, (B, mid_channels, h, w), to (B, out_channels, h, w)."""
        cells = fine.permute(0, 2, 3, 1)
        for layer in self.layers:
            cells = layer(cells)
        return self.widen(cells.permute(0, 3, 1, 2))


class _Layer(nn.Module):
    """Attention within windows, then a perceptron; of cells (B,h,w,C)."""

    def __init__(self, channels: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.before = nn.LayerNorm(channels)
        # A bias of the keys would raise all of a query's logits alike: it has no effect.
        self.queries = nn.Linear(channels, channels)
        self.keys = nn.Linear(channels, channels, bias=False)
        self.values = nn.Linear(channels, channels)
        self.output = nn.Linear(channels, channels)
        self.position = nn.Parameter(torch.randn(heads, (2 * window - 1) ** 2) * 0.02)
        self.pairs: Tensor
        self.register_buffer('pairs', _pairs(window), persistent=False)
        self.perceptron = perceptron(channels)

    def forward(self, cells: Tensor) -> Tensor:
        cells = cells + self._attend(self.before(cells))
        return cells + self.perceptron(cells)

    def _attend(self, cells: Tensor) -> Tensor:
        _, rows, cols, _ = cells.shape
        window, shift = self.window, self.shift
        bottom, right = -(rows + shift) % window, -(cols + shift) % window
        around = (shift, right, shift, bottom)
        padded = pad(cells, (0, 0, *around))
        real = pad(cells.new_ones(1, rows, cols, 1), (0, 0, *around))
        tokens = _windows(padded, window)
        batch, number, length, channels = tokens.shape
        # (1, windows, 1, 1, keys): what is not on the map is not looked at.
        nothing = (1 - _windows(real, window)).view(1, number, 1, 1, length)
        mask = nothing.masked_fill(nothing > 0, float('-inf'))
        mask = mask + self.position[:, self.pairs].to(mask.dtype)
        parts = (self.queries(tokens), self.keys(tokens), self.values(tokens))
        queries, keys, values = (
            part.view(batch, number, length, self.heads, -1).transpose(2, 3) for part in parts
        )
        found = scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        found = self.output(found.transpose(2, 3).reshape(batch, number, length, channels))
        found = _unwindowed(found, padded.shape[1] // window, window)
        return found[:, shift : shift + rows, shift : shift + cols]


def _pairs(window: int) -> Tensor:
    """(window^2, window^2) int64: which offset leads from each cell to each other."""
    at = torch.stack(torch.meshgrid(*2 * [torch.arange(window)], indexing='ij')).flatten(1)
    offset = at[:, :, None] - at[:, None, :] + window - 1
    return offset[0] * (2 * window - 1) + offset[1]


def _windows(cells: Tensor, window: int) -> Tensor:
    """(B,h,w,C) to (B, windows, window^2, C)."""
    parts = cells.unflatten(2, (-1, window)).unflatten(1, (-1, window))
    return parts.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def _unwindowed(tokens: Tensor, across: int, window: int) -> Tensor:
    """(B, windows, window^2, C) back to (B,h,w,C), of so many windows one above the other."""
    parts = tokens.unflatten(2, (window, window)).unflatten(1, (across, -1))
    return parts.transpose(2, 3).flatten(3, 4).flatten(1, 2)
