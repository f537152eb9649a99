# SPDX-License-Identifier: Apache-2.0
"""A 3x3 convolution of stride 1 on those tiles of 4x4 outputs that hold active sites.

Winograd's F(4x4, 3x3) takes 36 products for a tile. LiDAR fills enough of a tile that this is
2.7 to 3.8 products for an active site, where its neighbours alone are 4.3 to 8.
"""

from __future__ import annotations

import threading

import numpy as np
import torch
from torch import Tensor

from tiny_bev_ros.inference.kernels import site_kernels, winograd
from tiny_bev_ros.inference.kernels.simd import as_numpy
from tiny_bev_ros.inference.sparse.active_sites import (
    ActiveSites,
    PaddedBackground,
    Run,
    padded_weight,
)
from tiny_bev_ros.inference.sparse.background import Background
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer

# Numbers multiplied at once for each of the 36 products: they stay in the cache.
_BLOCK = 8192

# (first tile, tile after the last)
Block = tuple[int, int]


class TileLayer:
    """A layer of a chain with its weights packed and its buffers kept.

    Args:
        layer: the convolution, 3x3 of stride 1.
        background: of this layer, at the size of the map.
        shape: (H, W) of its input and output.
        dtype: of input and weights: float32 or bfloat16; float16 has not the range.
        last: whether this is the last layer, whose rows are the values themselves, float32.
    """

    def __init__(
        self,
        layer: ConvLayer,
        background: Background,
        shape: tuple[int, int],
        dtype: torch.dtype,
        last: bool,
    ) -> None:
        self._layer, self._shape, self._dtype, self._last = layer, shape, dtype, last
        self._ground = PaddedBackground(background)
        self.sites = ActiveSites(layer.weight.shape[0], torch.float32 if last else dtype)
        wide = winograd.transform_weight(padded_weight(layer.weight).cpu().numpy())
        self._weight = torch.from_numpy(wide).to(dtype)
        tiles = [-(-size // winograd.TILE) for size in shape]
        self._masks = np.zeros((tiles[0] + 2, tiles[1] + 2), np.uint16)
        bordered = [count * winograd.TILE + 2 for count in tiles]
        self._numbers = np.zeros(bordered, np.int32)
        self._tiles = np.zeros((tiles[0] * tiles[1], 4), np.int32)
        # Not a power of two: caches would keep few of the 36 planes at a time.
        self._room = max(_BLOCK // max(wide.shape[1:]), 16) - 8
        self._buffers = threading.local()

    def find(self, sites: ActiveSites) -> list[Block]:
        """Finds the active sites of the output; the blocks of work they make.

        Args:
            sites: of the input; only their places matter.
        """
        winograd.mark_tiles(sites.cells, sites.count, self._masks)
        tiles, count = winograd.count_tiles(self._masks, *self._shape)
        self.sites.resize(count)
        winograd.list_tiles(self._masks, self._tiles, self.sites.cells)
        return [(first, min(first + self._room, tiles)) for first in range(0, tiles, self._room)]

    def macs(self, blocks: list[Block]) -> int:
        """Multiplications that blocks of work cost."""
        return sum(end - begin for begin, end in blocks) * self._weight.numel()

    def compute(self, sites: ActiveSites, blocks: list[Block], run: Run) -> None:
        """Computes `self.sites.rows` from the rows of the input sites."""
        site_kernels.number_sites(sites.cells, sites.count, self._numbers)
        run(lambda block: self._compute_block(sites, *block), blocks)
        site_kernels.clear_sites(sites.cells, sites.count, self._numbers)

    def _compute_block(self, sites: ActiveSites, begin: int, end: int) -> None:
        inputs, products, flat_inputs, flat_products = self._block_buffers(end - begin)
        winograd.transform_input(
            sites.flat,
            sites.channels,
            self._numbers,
            self._tiles,
            begin,
            end,
            flat_inputs,
            self._room * sites.channels,
        )
        torch.bmm(inputs, self._weight, out=products)
        winograd.transform_output(
            flat_products,
            self._room * self.sites.channels,
            self.sites.channels,
            self._tiles,
            begin,
            end,
            *self._ground,
            self._layer.relu,
            not self._last,
            self.sites.flat,
        )

    def _block_buffers(self, count: int) -> tuple[Tensor, Tensor, np.ndarray, np.ndarray]:
        """Transformed inputs and their products (36, count, channels), and both as they lie.

        Each thread has its own. Views are kept: making them takes Python's lock, for which
        other threads would wait.
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
