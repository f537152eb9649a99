# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Sparse evaluation of a chain of convolutions, by numba kernels on the CPU.

Every activation is the background (the output for an empty map, known in advance) plus a delta,
which is zero except at active sites: the non-empty cells, and one more ring of cells around them
per 3x3 convolution. So a layer multiplies, at its active sites alone, the deltas of the neighbours
by the weights; the background before ReLU takes the place of the bias. The result equals that
of the dense network, up to rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from tiny_bev_ros.inference.kernels import canvas_kernels
from tiny_bev_ros.inference.kernels.simd import as_numpy
from tiny_bev_ros.inference.sparse.active_sites import ActiveSites, BlockRunner
from tiny_bev_ros.inference.sparse.background import Background, backgrounds
from tiny_bev_ros.inference.sparse.direct_layer import DirectLayer
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer
from tiny_bev_ros.inference.sparse.tile_layer import TileLayer
from tiny_bev_ros.inference.worker_pool import WorkerPool


class SparseChain:
    """Sparse evaluation of a chain on the CPU for maps of one size; reuses its buffers.

    Args:
        layers: layers of the chain.
        shape: (H, W) of the map.
        dtype: compute dtype, also of the deltas between layers.
        threads: number of threads.
        followed: True where another part of the network follows: the output is then channels_last
            and of the compute dtype, else contiguous and float32.

    Attributes:
        computes_after: False, as a network after the chain is left to the caller.
        no_graph_reason: '', as nothing is recorded.
    """

    computes_after = False
    no_graph_reason = ''

    def __init__(
        self,
        layers: tuple[ConvLayer, ...],
        shape: tuple[int, int],
        dtype: torch.dtype,
        threads: int,
        followed: bool = False,
    ) -> None:
        self._input = ActiveSites(layers[0].weight.shape[1], dtype)
        self._layers: list[Any] = []
        self._channels = layers[0].weight.shape[1]
        size: tuple[int, int] = shape
        out_dtype = dtype if followed else torch.float32
        for index, (layer, background) in enumerate(
            zip(layers, backgrounds(layers, shape), strict=True)
        ):
            tiled = layer.kernel == 3 and layer.stride == 1 and dtype != torch.float16
            kind, last = TileLayer if tiled else DirectLayer, index == len(layers) - 1
            self._layers.append(kind(layer, background, size, dtype, out_dtype if last else None))
            size = (len(background.row), len(background.col))
        self._run = WorkerPool(threads).run
        self._outputs: list[_Output] = [
            _RowOutput(background, dtype) if followed else _PlaneOutput(background)
            for _ in range(2)
        ]
        self._bands = range(2 * threads)
        self._blocks: list[Any] = []
        self._shape = shape
        # Sized for a full map; the system commits memory only to pages that are written.
        self._cells = np.empty((shape[0] * shape[1], 2), np.int32)
        self._features = np.empty((shape[0] * shape[1], self._channels), np.float32)

    @torch.inference_mode(False)  # The buffers outlive a caller's inference mode.
    def active(self, canvas: Tensor) -> tuple[Tensor, Tensor]:
        """Extracts the non-empty cells of a map.

        Args:
            canvas: (C,H,W) float32 pseudo-image.

        Returns:
            Features (N,C) float32 and cells (N,2) int32 [row, col], overwritten by the next call.
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
        """Finds the active sites of every layer.

        Args:
            cells: (N,2) non-empty cells [row, col].

        Returns:
            Number of multiplications of `compute`.
        """
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

    def compute(self, features: Tensor) -> Tensor:
        """Computes the output of the chain.

        Args:
            features: (N,C) features of the cells that were passed to `find`.

        Returns:
            (C_out, h, w), overwritten by the second next call.
        """
        rows = self._input.rows[1 : len(features) + 1, : self._channels]
        # Copied on the pool, as PyTorch's own threads would spin for a while after the copy.
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


class _Output:
    """Output map of the background, and of the values of the last active sites.

    Attributes:
        map: array that kernels write.
        result: (C, h, w) view of the map.
    """

    map: np.ndarray
    result: Tensor
    _table: np.ndarray  # background after ReLU, in the dtype of the map

    def __init__(self, background: Background) -> None:
        self._background = background
        shape = (len(background.row), len(background.col))
        self._written = np.zeros(shape, np.bool_)
        self._index_map = np.zeros(np.add(shape, 2), np.int32)

    def write(self, sites: ActiveSites, run: BlockRunner, bands: range) -> Tensor:
        """Writes sites into the map, and the background at the sites of the previous call."""
        background, height = self._background, len(self._written)
        canvas_kernels.fill_index_map(sites.cells, sites.count, self._index_map)
        rows = sites.flat.reshape(-1, sites.channels)
        run(
            lambda band: self._update(
                rows,
                self._index_map,
                self._written,
                background.row,
                background.col,
                self._table,
                self.map,
                height * band // len(bands),
                height * (band + 1) // len(bands),
            ),
            bands,
        )
        canvas_kernels.clear_index_map(sites.cells, sites.count, self._index_map)
        return self.result

    def _update(self, *arguments: Any) -> None:
        """Calls the kernel for the format of the map."""
        raise NotImplementedError


class _PlaneOutput(_Output):
    """Contiguous output map (C, h, w) float32."""

    def __init__(self, background: Background) -> None:
        super().__init__(background)
        self._table = background.post_relu
        self.map = background.full()
        self.result = torch.from_numpy(self.map)

    def _update(self, *arguments: Any) -> None:
        canvas_kernels.update_map(*arguments)


class _RowOutput(_Output):
    """Output map (h, w, C) in a compute dtype."""

    def __init__(self, background: Background, dtype: torch.dtype) -> None:
        super().__init__(background)
        table = torch.from_numpy(background.post_relu).to(dtype)
        self._table = as_numpy(table).reshape(table.shape)
        rows = table[background.row][:, background.col]
        self.map = as_numpy(rows).reshape(rows.shape)
        self.result = rows.permute(2, 0, 1)

    def _update(self, *arguments: Any) -> None:
        canvas_kernels.update_rows(*arguments)
