# SPDX-License-Identifier: Apache-2.0
"""A chain of convolutions computed only where the map differs from an empty one.

Every activation is the answer to an empty map (the background, known in advance) plus a delta,
which is zero but at active sites: the non-empty cells, and around them one more ring per 3x3
convolution. So a layer is, at its active sites alone, a product of the neighbours' deltas with
the weights; the background's value before ReLU takes the place of the bias. The result is that
of the dense network.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tiny_bev_ros.inference.kernels import canvas_kernels, site_kernels
from tiny_bev_ros.inference.sparse.active_sites import ActiveSites
from tiny_bev_ros.inference.sparse.background import Background, backgrounds
from tiny_bev_ros.inference.sparse.direct_layer import DirectLayer
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer
from tiny_bev_ros.inference.sparse.tile_layer import TileLayer


class SparseChain:
    """Sparse evaluation on the CPU for maps of one size; keeps its buffers.

    Args:
        layers: the chain.
        shape: (H, W) of the map.
        dtype: of products and of the deltas between layers.
        threads: how many.
    """

    def __init__(
        self,
        layers: tuple[ConvLayer, ...],
        shape: tuple[int, int],
        dtype: torch.dtype,
        threads: int,
    ) -> None:
        self._input = ActiveSites(layers[0].weight.shape[1], dtype)
        self._layers: list[Any] = []
        self._channels = layers[0].weight.shape[1]
        size: tuple[int, int] = shape
        for index, (layer, background) in enumerate(
            zip(layers, backgrounds(layers, shape), strict=True)
        ):
            tiled = layer.kernel == 3 and layer.stride == 1 and dtype != torch.float16
            kind, last = TileLayer if tiled else DirectLayer, index == len(layers) - 1
            self._layers.append(kind(layer, background, size, dtype, last))
            size = (len(background.row), len(background.col))
        # Each thread multiplies alone: PyTorch's own threads would be a second pool on the
        # same cores. Its thread count is a setting of each thread.
        self._threads = threads
        self._pool = (
            ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
            if threads > 1
            else None
        )
        self._outputs = [_Output(background) for _ in range(2)]
        self._bands = range(2 * threads)
        self._blocks: list[Any] = []
        self._shape = shape
        # As large as the map, but the system gives memory only to what is written.
        self._cells = np.empty((shape[0] * shape[1], 2), np.int32)
        self._features = np.empty((shape[0] * shape[1], self._channels), np.float32)

    @torch.inference_mode(False)  # the buffers outlive a caller's inference mode
    def active(self, canvas: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N,C) and cells (N,2) of the places of a (C,H,W) map that are not all zero.

        They are overwritten by the next call.
        """
        height, width = self._shape
        flat = canvas.contiguous().view(len(canvas), -1).numpy()
        edges = [height * width * i // len(self._bands) for i in range(len(self._bands) + 1)]
        counts = [0] * len(self._bands)

        def scan(band: int) -> None:
            counts[band] = canvas_kernels.active_cells(
                flat, width, edges[band], edges[band + 1], self._cells, self._features
            )

        self._run(scan, self._bands)
        end = counts[0]
        for begin, count in zip(edges[1:], counts[1:], strict=False):
            self._cells[end : end + count] = self._cells[begin : begin + count]
            self._features[end : end + count] = self._features[begin : begin + count]
            end += count
        return torch.from_numpy(self._features[:end]), torch.from_numpy(self._cells[:end])

    @torch.inference_mode(False)
    def find(self, cells: Tensor) -> int:
        """Takes the active cells (N,2) [row, col]; returns the multiplications to come."""
        self._input.resize(len(cells))
        self._input.cells[1 : len(cells) + 1] = cells.numpy()
        sites, macs = self._input, 0
        self._blocks = []
        for layer in self._layers:
            blocks = layer.find(sites)
            macs += layer.macs(blocks)
            self._blocks.append(blocks)
            sites = layer.sites
        return macs

    def compute(self, features: torch.Tensor) -> torch.Tensor:
        """Takes the features (N,C) of the cells given to `find`.

        Returns:
            (C_out, h, w) float32, overwritten by the second next call.
        """
        rows = self._input.rows[1 : len(features) + 1, : self._channels]
        # Not by this thread: the helpers that PyTorch would give it go on spinning for a while.
        bands = len(self._bands)
        self._run(
            lambda band: rows[band::bands].copy_(features[band::bands]),
            self._bands,
        )
        sites = self._input
        for layer, blocks in zip(self._layers, self._blocks, strict=True):
            layer.compute(sites, blocks, self._run)
            sites = layer.sites
        self._outputs.reverse()
        return self._outputs[0].write(sites, self._run, self._bands)

    def _run(self, work: Any, blocks: Any) -> None:
        if self._pool is None:
            for block in blocks:
                work(block)
            return
        waiting = deque(blocks)

        def work_off() -> None:
            while waiting:
                try:
                    block = waiting.popleft()
                except IndexError:  # another thread took the last one
                    return
                work(block)

        # A task for each thread, not for each block: the caller, too, would wake for each.
        for task in [self._pool.submit(work_off) for _ in range(self._threads)]:
            task.result()


class _Output:
    """A (C,h,w) map that is the background but where sites were written."""

    def __init__(self, background: Background) -> None:
        self._background = background
        self._map = background.full()
        self._was = np.zeros(self._map.shape[1:], np.bool_)
        self._numbers = np.zeros(np.add(self._was.shape, 2), np.int32)

    def write(self, sites: ActiveSites, run: Any, bands: range) -> Tensor:
        background, height = self._background, len(self._was)
        site_kernels.number_sites(sites.cells, sites.count, self._numbers)
        run(
            lambda band: canvas_kernels.update_map(
                sites.rows.numpy(),
                self._numbers,
                self._was,
                background.row,
                background.col,
                background.after,
                self._map,
                height * band // len(bands),
                height * (band + 1) // len(bands),
            ),
            bands,
        )
        site_kernels.clear_sites(sites.cells, sites.count, self._numbers)
        return torch.from_numpy(self._map)
