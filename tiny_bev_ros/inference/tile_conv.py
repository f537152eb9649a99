# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""3x3 convolution of a dense map by Winograd's method, by numba kernels on the CPU."""

from __future__ import annotations

from typing import TypeGuard

import numpy as np
import torch
from torch import Tensor, nn

from tiny_bev_ros.inference.kernels import hot_tiles, map_winograd, winograd
from tiny_bev_ros.inference.sparse.row_padding import WIDTH
from tiny_bev_ros.inference.worker_pool import WorkerPool


class TileConv2d(nn.Module):
    """Convolution of float32 maps in 36 products per 4x4 outputs, where others take 144.

    Equals the convolution, and the ReLU that follows it, up to rounding.

    Args:
        conv: convolution that `takes_tiles`.
        relu: True if ReLU follows.
        workers: threads to compute on.
    """

    def __init__(self, conv: nn.Conv2d, relu: bool, workers: WorkerPool) -> None:
        super().__init__()
        weight = conv.weight.detach().cpu()
        self._direct = weight.permute(2, 3, 1, 0).flatten().numpy()
        wide = winograd.transform_weight(weight.numpy())
        self._weight = torch.from_numpy(wide).float()
        bias = (
            conv.bias.detach()
            if conv.bias is not None
            else conv.weight.new_zeros(conv.out_channels)
        )
        self._bias = bias.float().cpu().numpy().copy()
        self._relu, self._workers = relu, workers
        self._room = winograd.tiles_at_once(max(wide.shape[1:]))

    def forward(self, x: Tensor) -> Tensor:
        """(B,C_in,H,W) float32 to (B,C_out,H,W), in channels_last."""
        rows = x.permute(0, 2, 3, 1).contiguous()  # no copy of maps in channels_last
        batch, height, width, _ = rows.shape
        out = torch.empty(batch, height, width, self._weight.shape[2])
        for source, target in zip(rows, out, strict=True):
            self._convolve(source.view(-1).numpy(), target.view(-1).numpy(), height, width)
        return out.permute(0, 3, 1, 2)

    def _convolve(self, x: np.ndarray, out: np.ndarray, height: int, width: int) -> None:
        """Convolves a flat map into another."""
        tiles = -(-height // winograd.TILE) * -(-width // winograd.TILE)
        cells = torch.from_numpy(x).view(height * width, -1)
        limit, hot = hot_tiles.hot_limit(cells), np.zeros(tiles, np.bool_)
        size = self._workers.block_size(tiles, self._room)
        self._workers.run(
            lambda first: self._compute(
                x, out, height, width, limit, hot, first, min(first + size, tiles)
            ),
            range(0, tiles, size),
        )

    def _compute(
        self,
        x: np.ndarray,
        out: np.ndarray,
        height: int,
        width: int,
        limit: float,
        hot: np.ndarray,
        begin: int,
        end: int,
    ) -> None:
        """Computes the outputs of tiles from ``begin`` to ``end``."""
        inputs, products, flat_inputs, flat_products = self._block_buffers(end - begin)
        _, channels, out_channels = self._weight.shape
        step, out_step = (end - begin) * channels, (end - begin) * out_channels
        any_hot = map_winograd.transform_map(
            x, height, width, channels, begin, end, flat_inputs, step, limit, hot
        )
        torch.bmm(inputs, self._weight, out=products)
        map_winograd.write_map(
            flat_products,
            out_step,
            out_channels,
            begin,
            end,
            self._bias,
            self._relu,
            height,
            width,
            out,
        )
        if any_hot:
            hot_tiles.compute_cells(
                x,
                height,
                width,
                channels,
                hot,
                begin,
                end,
                self._direct,
                out_channels,
                self._bias,
                self._relu,
                out,
            )

    def _block_buffers(self, count: int) -> tuple[Tensor, Tensor, np.ndarray, np.ndarray]:
        """Returns this thread's buffers: inputs and products (36, count, channels), flat views.

        All convolutions on the same threads share them.
        """
        kept, channels = self._workers.local, self._weight.shape[1:]
        sizes = [36 * count * each for each in channels]
        if not hasattr(kept, 'whole') or len(kept.whole[0]) < max(sizes):
            kept.whole = [torch.empty(max(36 * winograd.BLOCK, *sizes)) for _ in sizes]
            kept.views = {}
        key = (count, *channels)
        if key not in kept.views:
            # Kept, as making views takes the interpreter lock, which blocks other threads.
            flat = [whole[:size] for whole, size in zip(kept.whole, sizes, strict=True)]
            shaped = [
                each.view(36, count, width) for each, width in zip(flat, channels, strict=True)
            ]
            kept.views[key] = *shaped, *(each.numpy() for each in flat)
        return kept.views[key]


def use_tiles(module: nn.Module, workers: WorkerPool) -> None:
    """Replaces convolutions that `takes_tiles`, and the ReLU after each, in every Sequential.

    Compiles the kernels, so that no frame is late.

    Args:
        module: module in eval mode, batch norms folded in.
        workers: threads to compute on.
    """
    for sequence in module.modules():
        if type(sequence) is not nn.Sequential:
            continue
        for index, child in enumerate(sequence):
            if takes_tiles(child):
                after = index + 1
                while after < len(sequence) and type(sequence[after]) is nn.Identity:
                    after += 1
                relu = after < len(sequence) and type(sequence[after]) is nn.ReLU
                if relu:
                    sequence[after] = nn.Identity()
                sequence[index] = tiled = TileConv2d(child, relu, workers)
                # NaN, as a hot tile runs all kernels.
                tiled(torch.full((1, child.in_channels, 1, 1), torch.nan))


def takes_tiles(conv: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Returns True if TileConv2d may stand for a layer: 3x3, stride 1, 16 times n channels."""
    return (
        type(conv) is nn.Conv2d
        and conv.kernel_size == (3, 3)
        and conv.stride == (1, 1)
        and conv.padding == (1, 1)
        and conv.dilation == (1, 1)
        and conv.groups == 1
        and conv.padding_mode == 'zeros'
        and conv.weight.dtype == torch.float32
        and conv.in_channels % WIDTH == conv.out_channels % WIDTH == 0
    )
