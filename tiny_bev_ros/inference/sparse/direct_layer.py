# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Direct sparse convolution: gathers the neighbours of active sites, multiplies by the weights.

Most sites of a dilated set have kernel rows or columns without an active input site: on the upper
edge of an object, for instance, only the lowest kernel row has some. So sites are grouped by the
rectangle around their active taps, and each group is multiplied by that part of the weights
alone, which on LiDAR saves a quarter of the work. (Groups by the exact taps would save a little
more, but in so many small products that nothing is gained.)

A combination of taps is a bit mask; bit ky * kernel + kx stands for the tap (ky, kx).
"""

from __future__ import annotations

import functools
import threading

import numpy as np
import torch
from torch import Tensor

from tiny_bev_ros.inference.kernels import canvas_kernels, direct_kernels
from tiny_bev_ros.inference.kernels.simd import as_numpy
from tiny_bev_ros.inference.sparse.active_sites import (
    ActiveSites,
    BlockRunner,
    padded_background,
    padded_weight,
)
from tiny_bev_ros.inference.sparse.background import Background
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer

# Sites per matrix product: their gathered neighbours stay in the cache.
BLOCK = 1024
# A product of few rows costs as much as one of many: smaller groups are multiplied by all taps.
_MIN_GROUP = 64

# (mask of the group's taps, first site, end)
Block = tuple[int, int, int]


class DirectLayer:
    """Layer of a chain with packed weights and reused buffers.

    Args:
        layer: convolution, 1x1 or 3x3 of any stride.
        background: background of this layer, at the size of the map.
        shape_in: (H, W) of the layer's input.
        dtype: dtype of input and weights: float32, bfloat16 or float16.
        out_dtype: dtype of the output rows of the last layer, which include the background; None
            for other layers, whose rows are deltas.

    Attributes:
        sites: active sites of the output.
    """

    def __init__(
        self,
        layer: ConvLayer,
        background: Background,
        shape_in: tuple[int, int],
        dtype: torch.dtype,
        out_dtype: torch.dtype | None,
    ) -> None:
        self._dtype, self._last = dtype, out_dtype is not None
        self._kernel, self._stride, self._relu = layer.kernel, layer.stride, layer.relu
        self._background = padded_background(background)
        self.sites = ActiveSites(layer.weight.shape[0], out_dtype or dtype)
        weight = padded_weight(layer.weight)
        self._packed = weight.permute(2, 3, 1, 0).flatten(0, 1)
        self._parts: dict[int, tuple[Tensor, np.ndarray]] = {}
        self._buffers = threading.local()
        self._index_map = np.zeros((shape_in[0] + 2, shape_in[1] + 2), np.int32)
        self._taps = np.zeros((len(background.row) + 2, len(background.col) + 2), np.uint16)
        self._counts = np.zeros(2 ** (self._kernel * self._kernel), np.int64)

    def find(self, sites: ActiveSites) -> list[Block]:
        """Finds the active sites of the output.

        Args:
            sites: active sites of the input; only their cells are read.

        Returns:
            Blocks of work for `compute`.
        """
        counts = self._counts
        direct_kernels.mark_taps(sites.cells, sites.count, self._kernel, self._stride, self._taps)
        self.sites.resize(direct_kernels.count_groups(self._taps, counts))
        group_of = choose_groups(counts, self._kernel)
        ends = 1 + np.cumsum(counts)
        direct_kernels.list_sites(self._taps, group_of, ends - counts, self.sites.cells)
        return [
            (group, first, min(first + BLOCK, int(ends[group])))
            for group in np.flatnonzero(counts).tolist()
            for first in range(int(ends[group] - counts[group]), int(ends[group]), BLOCK)
        ]

    def macs(self, blocks: list[Block]) -> int:
        """Returns the number of multiplications of blocks of work."""
        return sum((end - begin) * self._part(group)[0].numel() for group, begin, end in blocks)

    def compute(self, sites: ActiveSites, blocks: list[Block], run: BlockRunner) -> None:
        """Computes `self.sites.rows` from the rows of the input sites.

        Args:
            sites: active sites of the input, as passed to `find`.
            blocks: result of `find`.
            run: calls a function with each block.
        """
        canvas_kernels.fill_index_map(sites.cells, sites.count, self._index_map)
        run(lambda block: self._compute_block(sites, *block), blocks)
        canvas_kernels.clear_index_map(sites.cells, sites.count, self._index_map)

    def _compute_block(self, sites: ActiveSites, group: int, begin: int, end: int) -> None:
        (weight, offsets), count = self._part(group), end - begin
        gathered, product, flat_gathered, flat_product = self._block_buffers()
        cells = self.sites.cells
        direct_kernels.gather(
            sites.flat,
            sites.channels,
            self._index_map,
            cells,
            begin,
            end,
            self._stride,
            offsets,
            flat_gathered,
        )
        rows = gathered[: count * len(weight)].view(count, len(weight))
        torch.mm(rows, weight, out=product[:count])
        direct_kernels.write_outputs(
            flat_product,
            self.sites.channels,
            cells,
            begin,
            end,
            *self._background,
            self._relu,
            not self._last,
            self.sites.flat,
        )

    def _part(self, group: int) -> tuple[Tensor, np.ndarray]:
        """Returns weights (taps * C_in, C_out) and tap offsets (taps, 2) of a group."""
        if group not in self._parts:
            kernel = self._kernel
            taps, edge = taps_in_mask(group, kernel), 1 - kernel // 2
            weight = self._packed[taps].flatten(0, 1).to(self._dtype).contiguous()
            offsets = [(tap // kernel + edge, tap % kernel + edge) for tap in taps]
            self._parts[group] = weight, np.array(offsets, np.int64)
        return self._parts[group]

    def _block_buffers(self) -> tuple[Tensor, Tensor, np.ndarray, np.ndarray]:
        """Returns the buffers of this thread: gathered neighbours (flat), product, and flat views.

        The kernels take the views.
        """
        kept = self._buffers
        if not hasattr(kept, 'all'):
            taps, channels, _ = self._packed.shape
            gathered = torch.empty(BLOCK * taps * channels, dtype=self._dtype)
            product = torch.empty(BLOCK, self.sites.channels, dtype=self._dtype)
            kept.all = gathered, product, as_numpy(gathered), as_numpy(product)
        return kept.all


def taps_in_mask(mask: int, kernel: int) -> list[int]:
    """Returns the indices of the taps in a mask."""
    return [tap for tap in range(kernel * kernel) if mask >> tap & 1]


@functools.cache
def rectangles(kernel: int) -> np.ndarray:
    """Returns (2**taps,) int64: the mask of the rectangle around each mask of taps."""
    around = []
    for mask in range(2 ** (kernel * kernel)):
        rows = {tap // kernel for tap in taps_in_mask(mask, kernel)}
        cols = {tap % kernel for tap in taps_in_mask(mask, kernel)}
        around.append(sum(1 << row * kernel + col for row in rows for col in cols))
    return np.array(around, np.int64)


def choose_groups(counts: np.ndarray, kernel: int) -> np.ndarray:
    """Assigns each mask of taps to a group.

    Args:
        counts: (2**taps,) number of sites of each mask; overwritten by the number of each group.
        kernel: kernel size, 1 or 3.

    Returns:
        (2**taps,) int64, the mask of the group, which contains the taps of the given mask.
    """
    group_of = rectangles(kernel)
    counts[:] = np.bincount(group_of, counts, len(counts))
    small = (counts > 0) & (counts < _MIN_GROUP)
    counts[-1] += counts[:-1][small[:-1]].sum()
    counts[:-1][small[:-1]] = 0
    return np.where(small[group_of], len(counts) - 1, group_of)
