# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Direct sparse convolution in plain PyTorch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from tiny_bev_ros.inference.sparse.background import Background
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer


class RowBuffer:
    """Reused matrix with one row per site, after a first row of zeros."""

    def __init__(self, channels: int, dtype: torch.dtype, device: torch.device) -> None:
        self._rows = torch.zeros(1, channels, dtype=dtype, device=device)

    def view(self, count: int) -> Tensor:
        """Returns (count + 1, C) of the buffer, which grows with spare room."""
        if count >= len(self._rows):
            self._rows = self._rows.new_zeros(count + count // 4 + 1, self._rows.shape[1])
        return self._rows[: count + 1]


class TorchBackground:
    """Background of a layer on the device: tables with one row per cell of the small map."""

    def __init__(self, background: Background, device: torch.device) -> None:
        width = background.post_relu.shape[1]
        self.pre_relu = torch.from_numpy(background.pre_relu).flatten(0, 1).to(device)
        self.post_relu = torch.from_numpy(background.post_relu).flatten(0, 1).to(device)
        self._row = torch.from_numpy(background.row).to(device).long() * width
        self._col = torch.from_numpy(background.col).to(device).long()

    def indices(self, cells: Tensor) -> Tensor:
        """Returns the row of the tables for each of the cells (N,2)."""
        return self._row[cells[:, 0]] + self._col[cells[:, 1]]


class TorchLayer:
    """Layer of a chain with packed weights and reused buffers.

    Args:
        layer: convolution, 1x1 or 3x3 of any stride.
        background: background of the layer.
        shape_in: (H, W) of the layer's input.
        gathered: flat buffer of the compute dtype for the gathered neighbours of a block of sites.

    Attributes:
        background: background of the layer.
        weight: (k * k * C_in, C_out) of the compute dtype.
        cells: (N,2) active sites of the output, set by the chain.
    """

    def __init__(
        self,
        layer: ConvLayer,
        background: TorchBackground,
        shape_in: tuple[int, int],
        gathered: Tensor,
    ) -> None:
        dtype, device = gathered.dtype, gathered.device
        self._layer, self.background = layer, background
        self.weight = layer.weight.permute(2, 3, 1, 0).flatten(0, 2).to(device, dtype).contiguous()
        depth, channels = self.weight.shape
        self._rows = RowBuffer(channels, dtype, device)
        # Row of each cell of the input, with a border of one cell; 0 is the row of zeros.
        self._width = shape_in[1] + 2
        self._index_map = torch.zeros(
            (shape_in[0] + 2) * self._width, dtype=torch.long, device=device
        )
        edge = 1 - layer.kernel // 2
        taps = torch.arange(edge, edge + layer.kernel, device=device)
        self._taps = (taps[:, None] * self._width + taps).flatten()
        self._gathered = gathered
        self._block = min(len(gathered) // depth, shape_in[0] * shape_in[1])
        self._product = self.weight.new_empty(self._block, channels)
        self.cells = torch.zeros(0, 2, dtype=torch.long, device=device)

    def widen(self, active: Tensor) -> Tensor:
        """Returns the mask (h,w) of active sites of the output, for that of the input (H,W)."""
        kernel, stride = self._layer.kernel, self._layer.stride
        return nn.functional.max_pool2d(active[None], kernel, stride, kernel // 2)[0]

    def compute(self, cells: Tensor, rows: Tensor) -> Tensor:
        """Computes the deltas of the output's active sites.

        Args:
            cells: (N,2) active sites of the input.
            rows: (N + 1, C_in) their deltas, after a first row of zeros.

        Returns:
            (M + 1, C_out) deltas of `self.cells`, after a first row of zeros.
        """
        result = self._rows.view(len(self.cells))
        for begin, values, indices in self.blocks(cells, rows):
            background = self.background.post_relu.index_select(0, indices)
            result[begin + 1 : begin + 1 + len(values)] = values.sub_(background)
        return result

    def blocks(self, cells: Tensor, rows: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yields the output in blocks, the background included.

        Args:
            cells: (N,2) active sites of the input.
            rows: (N + 1, C_in) their deltas, after a first row of zeros.

        Yields:
            First site, values (n, C_out) float32 after ReLU, rows (n,) of the background's tables.
        """
        positions = (cells[:, 0] + 1) * self._width + cells[:, 1] + 1
        self._index_map[positions] = torch.arange(1, len(rows), device=rows.device)
        for begin in range(0, len(self.cells), self._block):
            sites = self.cells[begin : begin + self._block]
            corners = (sites[:, 0] * self._width + sites[:, 1]) * self._layer.stride
            numbers = self._index_map.take(corners[:, None] + self._taps).flatten()
            gathered = self._gathered[: len(numbers) * rows.shape[1]].view(len(numbers), -1)
            torch.index_select(rows, 0, numbers, out=gathered)
            product = self._product[: len(sites)]
            torch.mm(gathered.view(len(sites), -1), self.weight, out=product)
            indices = self.background.indices(sites)
            values = self.background.pre_relu.index_select(0, indices).add_(product)
            yield begin, values.relu_() if self._layer.relu else values, indices
        self._index_map.index_fill_(0, positions, 0)
