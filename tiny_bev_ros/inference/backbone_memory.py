# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Memory that a backbone needs on a map, computed from the sizes before any is allocated.

The sparse path is counted with the buffers of the warm-up, which runs on a random map; LiDAR maps,
whose cells are clustered, have fewer active sites. The part that follows a chain needs the same
memory on either path: it is counted as two output maps, like a network that is no chain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.dense_path import has_pointwise_stem
from tiny_bev_ros.inference.sparse.background import small_shape
from tiny_bev_ros.inference.sparse.block_sizes import padded_channels
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer, as_chain, chain_part
from tiny_bev_ros.inference.sparse.row_padding import padded
from tiny_bev_ros.inference.sparse.sparse_path import (
    WARMUP_FRACTION,
    uses_numba,
    uses_triton,
)
from tiny_bev_ros.inference.sparse.torch_chain import room_for_neighbours

_FLOAT32 = _INT32 = 4
_INT64 = 8
# Factor by which buffers of sites exceed their need, so that few frames allocate new ones.
_SPARE = 1.25
# Winograd's 36 weights in place of nine, and the cells and bytes of a tile of 4x4 outputs.
_TILE_PRODUCTS, _TILE_CELLS, _TILE_BYTES = 36, 16, 17


@dataclass(frozen=True)
class BackboneMemory:
    """Sizes of a backbone from which its memory is computed.

    Attributes:
        layers: layers of the chain with which it begins; empty without one.
        followed: True where another part follows the chain.
        in_channels: number of input channels.
        channels: number of output channels.
        stride: side of an output cell, in input cells.
    """

    layers: tuple[ConvLayer, ...]
    followed: bool
    in_channels: int
    channels: int
    stride: int

    @classmethod
    def from_backbone(cls, backbone: nn.Module) -> BackboneMemory:
        """Reads the sizes of a backbone of the registry, in eval mode, on the CPU."""
        part, followed = chain_part(backbone)
        try:
            layers = as_chain(part)
        except TinyBevError:
            layers = ()
        described: Any = backbone
        last = described.feature_info[-1]
        return cls(layers, followed, described.in_channels, last.channels, last.stride)

    def bytes(
        self,
        shape: tuple[int, int],
        dtype: torch.dtype,
        device: torch.device,
        sparsity: str,
    ) -> int:
        """Returns the memory of the device that a map needs, in bytes.

        Args:
            shape: (H,W) of the map.
            dtype: compute dtype.
            device: device on which to compute.
            sparsity: auto, which keeps the buffers of both paths, always or never.
        """
        rows, cols = shape
        total = 0
        output = dtype.itemsize * -(-rows // self.stride) * -(-cols // self.stride) * self.channels
        if not self.layers:
            # The kept input; on the CPU also the given one, see `dense_bytes`.
            total += _FLOAT32 * rows * cols * self.in_channels * (1 + (device.type == 'cpu'))
        if not self.layers or self.followed:
            total += 2 * output
        if (not self.layers or sparsity != 'always') and device.type == 'cuda':
            total += 2 * output  # copies of the result of the recording
        if self.layers and sparsity != 'always':
            total += dense_bytes(self.layers, shape, dtype, device)
        if self.layers and sparsity != 'never':
            # Only here, as `uses_numba` loads numba, which takes time and memory.
            if uses_triton(device):
                total += triton_bytes(self.layers, shape, dtype, self.followed)
                if self.followed:
                    total += 2 * output  # copies of the result of the recording
            elif uses_numba(device):
                total += _numba_bytes(self.layers, shape, dtype, self.followed)
            else:
                total += _torch_bytes(self.layers, shape, dtype, device)
        return total


def dense_bytes(
    layers: Sequence[ConvLayer], shape: tuple[int, int], dtype: torch.dtype, device: torch.device
) -> int:
    """Returns the bytes of the dense path: weights, the kept input, and the largest layer.

    On the CPU, where the system ends a process that takes too much, a pseudo-image is counted
    that is given in place of pillars.
    """
    canvas = shape[0] * shape[1] * layers[0].weight.shape[1]
    maps = [cells * layer.weight.shape[0] for layer, cells in _outputs(layers, shape)]
    # The kept map is the input, or the output of a layer of 1x1; the next layer reads it.
    kept, rest = (maps[0], maps[1:]) if has_pointwise_stem(layers) else (canvas, maps)
    peak = max(inputs + outputs for inputs, outputs in pairwise([0, *rest]))
    image = 0
    if device.type == 'cpu':
        image = _FLOAT32 * canvas
        peak = max(peak, canvas + maps[0] if has_pointwise_stem(layers) else 0)
    return image + dtype.itemsize * (_weights(layers) + kept + peak)


def _numba_bytes(
    layers: Sequence[ConvLayer], shape: tuple[int, int], dtype: torch.dtype, followed: bool
) -> int:
    """Returns the bytes of a SparseChain."""
    last_value = dtype.itemsize if followed else _FLOAT32
    cells, last = shape[0] * shape[1], len(layers) - 1
    channels = layers[0].weight.shape[1]
    sites = WARMUP_FRACTION * cells
    total = _SPARE * sites * (2 * _INT32 + padded(channels) * dtype.itemsize)
    total += sites * (2 * _INT32 + channels * _FLOAT32)
    inputs = cells
    for index, (layer, (_, outputs), active) in enumerate(
        zip(layers, _outputs(layers, shape), _active(layers, shape), strict=True)
    ):
        value = last_value if index == last else dtype.itemsize
        total += _SPARE * active * (2 * _INT32 + padded(layer.weight.shape[0]) * value)
        total += _INT32 * inputs  # the index map
        if layer.kernel == 3 and layer.stride == 1 and dtype != torch.float16:
            total += _TILE_BYTES * outputs / _TILE_CELLS
            total += dtype.itemsize * layer.weight.numel() * _TILE_PRODUCTS // 9
            total += _FLOAT32 * layer.weight.numel()  # weights for hot tiles, not transformed
        else:
            total += 2 * outputs + (_FLOAT32 + dtype.itemsize) * layer.weight.numel()
        inputs = outputs
    # Two results; for each cell a flag that it was written, and its row.
    return int(total + 2 * inputs * (last_value * layers[-1].weight.shape[0] + 1 + _INT32))


def _torch_bytes(
    layers: Sequence[ConvLayer], shape: tuple[int, int], dtype: torch.dtype, device: torch.device
) -> int:
    """Returns the bytes of a TorchChain."""
    cells, last, value = shape[0] * shape[1], len(layers) - 1, dtype.itemsize
    sites = WARMUP_FRACTION * cells
    gathered = room_for_neighbours(layers, shape, dtype, device)
    total = _FLOAT32 * cells + _SPARE * sites * layers[0].weight.shape[1] * value
    total += 2 * _INT64 * sites + gathered * value
    inputs, temporary = cells, 0.0
    for index, (layer, (_, outputs), active) in enumerate(
        zip(layers, _outputs(layers, shape), _active(layers, shape), strict=True)
    ):
        channels, depth = layer.weight.shape[0], layer.weight[0].numel()
        block = min(gathered // depth, inputs)
        total += value * (layer.weight.numel() + block * channels) + _INT64 * inputs
        total += 2 * _INT64 * active
        if index != last:
            total += _SPARE * active * channels * value
        # In a block: rows of the neighbours, values and their background.
        temporary = max(
            temporary, min(block, active) * (layer.kernel**2 * _INT64 + 2 * _FLOAT32 * channels)
        )
        inputs = outputs
    return int(total + temporary + 2 * _FLOAT32 * inputs * layers[-1].weight.shape[0])


def triton_bytes(
    layers: Sequence[ConvLayer], shape: tuple[int, int], dtype: torch.dtype, followed: bool
) -> int:
    """Returns the bytes of a TritonChain, whose buffers hold every cell of the map.

    Args:
        layers: layers of the chain.
        shape: (H,W) of the map.
        dtype: compute dtype.
        followed: True where another part follows the chain, which then has one output.
    """
    cells = [shape[0] * shape[1], *(outputs for _, outputs in _outputs(layers, shape))]
    channels = [layers[0].weight.shape[1], *(layer.weight.shape[0] for layer in layers)]
    widths = [padded_channels(each) for each in channels]
    rows = [area * width for area, width in zip(cells[:-1], widths[:-1], strict=True)]
    weights = sum(
        layer.kernel**2 * inputs * outputs
        for layer, (inputs, outputs) in zip(layers, pairwise(widths), strict=True)
    )
    maps = 1 if followed else 2
    values = (
        max(rows[::2]) + max(rows[1::2], default=0) + weights + maps * cells[-1] * channels[-1]
    )
    indices = sum(cells) + max(cells[1:-1], default=0) + maps * cells[-1]
    small = [area for _, area in _outputs(layers, small_shape(layers, shape))]
    tables = sum(2 * area * width for area, width in zip(small, widths[1:], strict=True))
    return dtype.itemsize * values + _INT32 * indices + _FLOAT32 * tables


def _weights(layers: Sequence[ConvLayer]) -> int:
    return sum(layer.weight.numel() for layer in layers)


def _outputs(
    layers: Sequence[ConvLayer], shape: tuple[int, int]
) -> Iterator[tuple[ConvLayer, int]]:
    """Yields each layer and the number of cells of its output."""
    rows, cols = shape
    for layer in layers:
        rows, cols = -(-rows // layer.stride), -(-cols // layer.stride)
        yield layer, rows * cols


def _active(layers: Sequence[ConvLayer], shape: tuple[int, int]) -> Iterator[float]:
    """Yields the expected active sites of each layer's output, for a random map."""
    side, stride = 1, 1
    for layer, cells in _outputs(layers, shape):
        side += (layer.kernel - 1) * stride
        stride *= layer.stride
        yield cells * (1 - (1 - WARMUP_FRACTION) ** (side**2))
