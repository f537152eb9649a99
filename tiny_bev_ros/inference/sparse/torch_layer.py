# SPDX-License-Identifier: Apache-2.0
"""A convolution at active sites alone, in plain PyTorch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from tiny_bev_ros.inference.sparse.background import Background
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer


class Rows:
    """A kept matrix with a row for each site, after a first one of zeros."""

    def __init__(self, channels: int, dtype: torch.dtype, device: torch.device) -> None:
        self._rows = torch.zeros(1, channels, dtype=dtype, device=device)

    def of(self, count: int) -> Tensor:
        """(count + 1, C), with room to spare where it had to grow."""
        if count >= len(self._rows):
            self._rows = self._rows.new_zeros(count + count // 4 + 1, self._rows.shape[1])
        return self._rows[: count + 1]


class TorchBackground:
    """A layer's background on the device, a row for each place of the small map."""

    def __init__(self, background: Background, device: torch.device) -> None:
        self.before = torch.from_numpy(background.before).flatten(0, 1).to(device)
        self.after = torch.from_numpy(background.after).flatten(0, 1).to(device)
        self._row = torch.from_numpy(background.row).to(device).long() * background.after.shape[1]
        self._col = torch.from_numpy(background.col).to(device).long()

    def classes(self, cells: Tensor) -> Tensor:
        """Row of the tables for each of the cells (N,2)."""
        return self._row[cells[:, 0]] + self._col[cells[:, 1]]


class TorchLayer:
    """A layer of the chain with its weights packed and its buffers kept.

    Args:
        layer: the convolution.
        ground: its background.
        shape_in: (H, W) of its input.
        gathered: flat, of the dtype of products; for the neighbours of as many sites as fit.

    Attributes:
        ground: its background.
        weight: (k * k * C_in, C_out).
        cells: (N,2) of its output's active sites, from `find`.
    """

    def __init__(
        self,
        layer: ConvLayer,
        ground: TorchBackground,
        shape_in: tuple[int, int],
        gathered: Tensor,
    ) -> None:
        dtype, device = gathered.dtype, gathered.device
        self._layer, self.ground = layer, ground
        self.weight = layer.weight.permute(2, 3, 1, 0).flatten(0, 2).to(device, dtype).contiguous()
        depth, channels = self.weight.shape
        self._rows = Rows(channels, dtype, device)
        # Which row each cell of the input has, within a border; 0 is the row of zeros.
        self._width = shape_in[1] + 2
        self._numbers = torch.zeros(
            (shape_in[0] + 2) * self._width, dtype=torch.long, device=device
        )
        edge = 1 - layer.kernel // 2
        taps = torch.arange(edge, edge + layer.kernel, device=device)
        self._taps = (taps[:, None] * self._width + taps).flatten()
        self._gathered = gathered
        self._block = min(len(gathered) // depth, shape_in[0] * shape_in[1])
        self._product = self.weight.new_empty(self._block, channels)

    def find(self, active: Tensor) -> Tensor:
        """Finds the active sites of the output.

        Args:
            active: (H,W) of the input, 1 where it is active and else 0.

        Returns:
            (h,w), likewise of the output.
        """
        kernel, stride = self._layer.kernel, self._layer.stride
        wider = nn.functional.max_pool2d(active[None], kernel, stride, kernel // 2)[0]
        self.cells = wider.nonzero()
        return wider

    def compute(self, cells: Tensor, rows: Tensor) -> Tensor:
        """The deltas of the output's sites, from cells (N,2) and deltas of the input's.

        Deltas are (N + 1, C), after a first row of zeros.
        """
        result = self._rows.of(len(self.cells))
        for begin, values, classes in self.blocks(cells, rows):
            after = self.ground.after.index_select(0, classes)
            result[begin + 1 : begin + 1 + len(values)] = values.sub_(after)
        return result

    def blocks(self, cells: Tensor, rows: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
        """The same in blocks of (first site, values (n,C) float32, their classes (n,))."""
        places = (cells[:, 0] + 1) * self._width + cells[:, 1] + 1
        self._numbers[places] = torch.arange(1, len(rows), device=rows.device)
        for begin in range(0, len(self.cells), self._block):
            sites = self.cells[begin : begin + self._block]
            corners = (sites[:, 0] * self._width + sites[:, 1]) * self._layer.stride
            numbers = self._numbers.take(corners[:, None] + self._taps).flatten()
            gathered = self._gathered[: len(numbers) * rows.shape[1]].view(len(numbers), -1)
            torch.index_select(rows, 0, numbers, out=gathered)
            product = self._product[: len(sites)]
            torch.mm(gathered.view(len(sites), -1), self.weight, out=product)
            classes = self.ground.classes(sites)
            values = self.ground.before.index_select(0, classes).add_(product)
            yield begin, values.relu_() if self._layer.relu else values, classes
        self._numbers[places] = 0
