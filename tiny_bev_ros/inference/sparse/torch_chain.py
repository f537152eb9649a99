# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Sparse evaluation of a chain in plain PyTorch, for CUDA and for a CPU without numba.

The method is that of `tiny_bev_ros.inference.sparse.sparse_chain`: background plus delta.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tiny_bev_ros.inference.sparse.background import backgrounds
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer
from tiny_bev_ros.inference.sparse.torch_layer import RowBuffer, TorchBackground, TorchLayer

# Bytes of gathered neighbours per product: on the CPU they should stay in the cache; on other
# devices few launches matter more.
_CPU_BLOCK = 4 * 2**20
_BLOCK = 128 * 2**20


def room_for_neighbours(
    layers: Sequence[ConvLayer], shape: tuple[int, int], dtype: torch.dtype, device: torch.device
) -> int:
    """Returns the number of values that are gathered per product."""
    depth = max(layer.weight[0].numel() for layer in layers)
    budget = _CPU_BLOCK if device.type == 'cpu' else _BLOCK
    return min(budget // dtype.itemsize, depth * shape[0] * shape[1])


def active_pillars(canvas: Tensor) -> tuple[Tensor, Tensor]:
    """Extracts the non-empty cells of a map (C,H,W): features (N,C) and cells (N,2)."""
    cells = torch.any(canvas, 0).nonzero()
    flat = cells[:, 0] * canvas.shape[2] + cells[:, 1]
    return canvas.flatten(1).index_select(1, flat).t(), cells


class TorchChain:
    """Sparse evaluation of a chain on any device for maps of one size; reuses its buffers.

    Args:
        layers: layers of the chain.
        shape: (H, W) of the map.
        dtype: compute dtype, also of the deltas between layers.
        device: device of the computation.

    Attributes:
        computes_after: False, as a network after the chain is left to the caller.
        no_graph_reason: '', as nothing is recorded.
    """

    computes_after = False
    no_graph_reason = ''

    @torch.inference_mode()
    def __init__(
        self,
        layers: tuple[ConvLayer, ...],
        shape: tuple[int, int],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._active = torch.zeros(shape, device=device)
        self._input = RowBuffer(layers[0].weight.shape[1], dtype, device)
        room = room_for_neighbours(layers, shape, dtype, device)
        gathered = torch.empty(room, dtype=dtype, device=device)
        self._layers: list[TorchLayer] = []
        for layer, background in zip(layers, backgrounds(layers, shape), strict=True):
            self._layers.append(
                TorchLayer(layer, TorchBackground(background, device), shape, gathered)
            )
            shape = (len(background.row), len(background.col))
        self._outputs = [_Output(background.full(), self._layers[-1].background) for _ in range(2)]

    @torch.inference_mode()
    def active(self, canvas: Tensor) -> tuple[Tensor, Tensor]:
        """Extracts the non-empty cells of a map: features (N,C) and cells (N,2).

        Args:
            canvas: (C,H,W) pseudo-image.
        """
        return active_pillars(canvas)

    @torch.inference_mode()
    def find(self, cells: Tensor) -> int:
        """Finds the active sites of every layer.

        Args:
            cells: (N,2) non-empty cells [row, col].

        Returns:
            Number of multiplications of `compute`.
        """
        cells = cells.long()
        active = self._active.zero_()
        # Not by assignment: the host would wait for the copy of the number.
        active.view(-1).index_fill_(0, cells[:, 0] * active.shape[1] + cells[:, 1], 1)
        self._cells, macs = cells, 0
        masks = []
        for layer in self._layers:
            active = layer.widen(active)
            masks.append(active)
        for layer, sites in zip(self._layers, _cells_of(masks), strict=True):
            layer.cells = sites
            macs += len(sites) * layer.weight.numel()
        return macs

    @torch.inference_mode()
    def compute(self, features: Tensor) -> Tensor:
        """Computes the output of the chain.

        Args:
            features: (N,C) features of the cells that were passed to `find`.

        Returns:
            (C_out, h, w) float32, overwritten by the second next call.
        """
        cells, rows = self._cells, self._input.view(len(features))
        rows[1:] = features
        for layer in self._layers[:-1]:
            cells, rows = layer.cells, layer.compute(cells, rows)
        self._outputs.reverse()
        return self._outputs[0].write(self._layers[-1], cells, rows)


def _cells_of(masks: list[Tensor]) -> list[Tensor]:
    """Returns the cells (N,2) of masks (h,w) of 0 and 1; the host waits once for all of them."""
    if masks[0].device.type == 'cpu':
        return [mask.nonzero() for mask in masks]
    counts = torch.stack([mask.count_nonzero() for mask in masks]).tolist()
    return [_listed(mask.long(), count) for mask, count in zip(masks, counts, strict=True)]


def _listed(mask: Tensor, count: int) -> Tensor:
    """Returns the cells (count,2) of a mask (h,w) int64 as `nonzero` does, without waiting."""
    flat, width = mask.flatten(), mask.shape[1]
    rank = torch.where(flat > 0, flat.cumsum(0) - 1, count)  # inactive cells share the last
    index = torch.arange(len(flat), device=flat.device)
    found = flat.new_empty(count + 1).scatter_(0, rank, index)[:count]
    return torch.stack([found.div(width, rounding_mode='floor'), found % width], 1)


class _Output:
    """Output map (C,h,w) of the background, and of the values of the last active sites."""

    def __init__(self, full: np.ndarray, background: TorchBackground) -> None:
        self._background = background
        self._map = torch.from_numpy(full).to(background.post_relu.device)
        self._written = torch.zeros(0, 2, dtype=torch.long, device=self._map.device)

    def write(self, layer: TorchLayer, cells: Tensor, rows: Tensor) -> Tensor:
        """Computes the last layer from cells (N,2) and deltas (N + 1, C) of its input."""
        background = self._background.post_relu[self._background.indices(self._written)]
        self._put(self._written, background)
        self._written = layer.cells
        for begin, values, _ in layer.blocks(cells, rows):
            self._put(layer.cells[begin : begin + len(values)], values)
        return self._map

    def _put(self, cells: Tensor, values: Tensor) -> None:
        flat = cells[:, 0] * self._map.shape[2] + cells[:, 1]
        self._map.flatten(1).index_copy_(1, flat, values.t())
