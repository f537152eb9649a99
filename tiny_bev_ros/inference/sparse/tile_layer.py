# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Winograd sparse convolution: 3x3 of stride 1 on the tiles of 4x4 outputs with active sites.

Winograd's F(4x4, 3x3) takes 36 products per tile. LiDAR fills enough of a tile that these are
2.7 to 3.8 products per active site, where the direct method takes 4.3 to 8.
"""

from __future__ import annotations

import threading

import numpy as np
import torch
from torch import Tensor

from tiny_bev_ros.inference.kernels import canvas_kernels, hot_tiles, tile_masks, winograd
from tiny_bev_ros.inference.kernels.simd import as_numpy
from tiny_bev_ros.inference.sparse.active_sites import (
    ActiveSites,
    BlockRunner,
    padded_background,
    padded_weight,
)
from tiny_bev_ros.inference.sparse.background import Background
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer

# (first tile, end)
Block = tuple[int, int]


class TileLayer:
    """Layer of a chain with packed weights and reused buffers.

    Args:
        layer: convolution, 3x3 of stride 1.
        background: background of this layer, at the size of the map.
        shape: (H, W) of the layer's input and output.
        dtype: dtype of input and weights: float32 or bfloat16; the range of float16 is too small.
        out_dtype: dtype of the output rows of the last layer, which include the background; None
            for other layers, whose rows are deltas.

    Attributes:
        sites: active sites of the output.
    """

    def __init__(
        self,
        layer: ConvLayer,
        background: Background,
        shape: tuple[int, int],
        dtype: torch.dtype,
        out_dtype: torch.dtype | None,
    ) -> None:
        self._layer, self._shape, self._dtype, self._last = (
            layer,
            shape,
            dtype,
            out_dtype is not None,
        )
        self._background = padded_background(background)
        self.sites = ActiveSites(layer.weight.shape[0], out_dtype or dtype)
        weight = padded_weight(layer.weight).cpu()
        self._direct = weight.permute(2, 3, 1, 0).flatten().numpy()
        wide = winograd.transform_weight(weight.numpy())
        self._weight = torch.from_numpy(wide).to(dtype)
        tiles = [-(-size // winograd.TILE) for size in shape]
        self._masks = np.zeros((tiles[0] + 2, tiles[1] + 2), np.uint16)
        bordered = [count * winograd.TILE + 2 for count in tiles]
        self._index_map = np.zeros(bordered, np.int32)
        self._tiles = np.zeros((tiles[0] * tiles[1], 4), np.int32)
        self._hot = np.zeros(len(self._tiles), np.bool_)
        self._room = winograd.tiles_at_once(max(wide.shape[1:]))
        self._buffers = threading.local()

    def find(self, sites: ActiveSites) -> list[Block]:
        """Finds the active sites of the output.

        Args:
            sites: active sites of the input; only their cells are read.

        Returns:
            Blocks of work for `compute`.
        """
        tile_masks.mark_tiles(sites.cells, sites.count, self._masks)
        tiles, count = tile_masks.count_tiles(self._masks, *self._shape)
        self.sites.resize(count)
        tile_masks.list_tiles(self._masks, self._tiles, self.sites.cells)
        return [(first, min(first + self._room, tiles)) for first in range(0, tiles, self._room)]

    def macs(self, blocks: list[Block]) -> int:
        """Returns the number of multiplications of blocks of work."""
        return sum(end - begin for begin, end in blocks) * self._weight.numel()

    def compute(self, sites: ActiveSites, blocks: list[Block], run: BlockRunner) -> None:
        """Computes `self.sites.rows` from the rows of the input sites.

        Args:
            sites: active sites of the input, as passed to `find`.
            blocks: result of `find`.
            run: calls a function with each block.
        """
        canvas_kernels.fill_index_map(sites.cells, sites.count, self._index_map)
        limit = hot_tiles.hot_limit(sites.rows[1 : sites.count + 1])
        run(lambda block: self._compute_block(sites, limit, *block), blocks)
        canvas_kernels.clear_index_map(sites.cells, sites.count, self._index_map)

    def _compute_block(self, sites: ActiveSites, limit: float, begin: int, end: int) -> None:
        inputs, products, flat_inputs, flat_products = self._block_buffers(end - begin)
        any_hot = winograd.transform_input(
            sites.flat,
            sites.channels,
            self._index_map,
            self._tiles,
            begin,
            end,
            flat_inputs,
            self._room * sites.channels,
            limit,
            self._hot,
        )
        torch.bmm(inputs, self._weight, out=products)
        winograd.transform_output(
            flat_products,
            self._room * self.sites.channels,
            self.sites.channels,
            self._tiles,
            begin,
            end,
            *self._background,
            self._layer.relu,
            not self._last,
            self.sites.flat,
        )
        if any_hot:
            hot_tiles.compute_sites(
                sites.flat,
                sites.channels,
                self._index_map,
                self._tiles,
                self._hot,
                begin,
                end,
                self._direct,
                self.sites.channels,
                *self._background,
                self._layer.relu,
                not self._last,
                self.sites.flat,
            )

    def _block_buffers(self, count: int) -> tuple[Tensor, Tensor, np.ndarray, np.ndarray]:
        """Returns this thread's buffers: inputs and products (36, count, channels), flat views.

        The views are kept, as making them takes the interpreter lock, which blocks other threads.
        """
        kept = self._buffers
        if not hasattr(kept, 'views'):
            kept.views = {}
            kept.whole = [
                torch.empty(36, self._room, channels, dtype=self._dtype)
                for channels in self._weight.shape[1:]
            ]
        if count not in kept.views:
            views = (whole[:, :count] for whole in kept.whole)
            kept.views[count] = *views, *map(as_numpy, kept.whole)
        return kept.views[count]
