# SPDX-License-Identifier: Apache-2.0
"""The sparse path in plain PyTorch, for CUDA and for a CPU without numba.

The mathematics is that of `tiny_bev_ros.inference.sparse.sparse_chain`: background plus delta.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tiny_bev_ros.inference.sparse.background import Background, backgrounds
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer
from tiny_bev_ros.inference.sparse.torch_layer import Rows, TorchBackground, TorchLayer

# Bytes of gathered neighbours that are multiplied at once: on the CPU they should stay in the
# cache, elsewhere fewer launches count for more.
_CPU_BLOCK = 4 * 2**20
_BLOCK = 128 * 2**20


def room_for_neighbours(
    layers: Sequence[ConvLayer], shape: tuple[int, int], dtype: torch.dtype, device: torch.device
) -> int:
    """Values gathered at once."""
    depth = max(layer.weight[0].numel() for layer in layers)
    budget = _CPU_BLOCK if device.type == 'cpu' else _BLOCK
    return min(budget // dtype.itemsize, depth * shape[0] * shape[1])


class TorchChain:
    """Sparse evaluation on any device for maps of one size; keeps its buffers.

    Args:
        layers: the chain.
        shape: (H, W) of the map.
        dtype: of products and of the deltas between layers.
        device: where to compute.
    """

    @torch.inference_mode()
    def __init__(
        self,
        layers: tuple[ConvLayer, ...],
        shape: tuple[int, int],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._active = torch.zeros(shape, device=device)
        self._input = Rows(layers[0].weight.shape[1], dtype, device)
        room = room_for_neighbours(layers, shape, dtype, device)
        gathered = torch.empty(room, dtype=dtype, device=device)
        self._layers: list[TorchLayer] = []
        for layer, background in zip(layers, backgrounds(layers, shape), strict=True):
            self._layers.append(
                TorchLayer(layer, TorchBackground(background, device), shape, gathered)
            )
            shape = (len(background.row), len(background.col))
        self._outputs = [_Output(background, self._layers[-1].ground) for _ in range(2)]

    @torch.inference_mode()
    def active(self, canvas: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N,C) and cells (N,2) of the places of a (C,H,W) map that are not all zero."""
        cells = torch.any(canvas, 0).nonzero()
        flat = cells[:, 0] * canvas.shape[2] + cells[:, 1]
        return canvas.flatten(1).index_select(1, flat).t(), cells

    @torch.inference_mode()
    def find(self, cells: Tensor) -> int:
        """Takes the active cells (N,2) [row, col]; returns the multiplications to come."""
        cells = cells.long()
        active = self._active.zero_()
        active[cells[:, 0], cells[:, 1]] = 1
        self._cells, macs = cells, 0
        for layer in self._layers:
            active = layer.find(active)
            macs += len(layer.cells) * layer.weight.numel()
        return macs

    @torch.inference_mode()
    def compute(self, features: Tensor) -> Tensor:
        """Takes the features (N,C) of the cells given to `find`.

        Returns:
            (C_out, h, w) float32, overwritten by the second next call.
        """
        cells, rows = self._cells, self._input.of(len(features))
        rows[1:] = features
        for layer in self._layers[:-1]:
            cells, rows = layer.cells, layer.compute(cells, rows)
        self._outputs.reverse()
        return self._outputs[0].write(self._layers[-1], cells, rows)


class _Output:
    """A (C,h,w) map that is the background but where sites were written."""

    def __init__(self, background: Background, ground: TorchBackground) -> None:
        self._ground = ground
        self._map = torch.from_numpy(background.full()).to(ground.after.device)
        self._written = torch.zeros(0, 2, dtype=torch.long, device=self._map.device)

    def write(self, layer: TorchLayer, cells: Tensor, rows: Tensor) -> Tensor:
        """Runs the last layer on cells (N,2) and deltas (N + 1, C) of its input."""
        self._put(self._written, self._ground.after[self._ground.classes(self._written)])
        self._written = layer.cells
        for begin, values, _ in layer.blocks(cells, rows):
            self._put(layer.cells[begin : begin + len(values)], values)
        return self._map

    def _put(self, cells: Tensor, values: Tensor) -> None:
        flat = cells[:, 0] * self._map.shape[2] + cells[:, 1]
        self._map.flatten(1).index_copy_(1, flat, values.t())
