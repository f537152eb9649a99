# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Background: the output of each layer of a chain for an empty map.

It depends on the weights alone and is one constant vector per layer, except near the border,
where zero padding has an effect. So it is computed once, on a small empty map, and looked up:
the background of a larger map is that of the small one with its middle row and column repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer


@dataclass(frozen=True)
class Background:
    """Output of one layer for an empty map of a given size.

    Attributes:
        pre_relu: (h, w, C) float32, values on the small map before ReLU.
        post_relu: (h, w, C) float32, values on the small map after ReLU.
        row: (H,) int32, row of the small map for each row of the layer's output.
        col: (W,) int32, column of the small map for each column of the layer's output.
    """

    pre_relu: np.ndarray
    post_relu: np.ndarray
    row: np.ndarray
    col: np.ndarray

    def full(self) -> np.ndarray:
        """Returns the background (C, H, W) float32 after ReLU, at the size of the output."""
        # The small map is transposed, not the large one, which would take seconds.
        planes = np.ascontiguousarray(self.post_relu.transpose(2, 0, 1))
        return planes[:, self.row].take(self.col, axis=2)


def small_shape(layers: Sequence[ConvLayer], shape: tuple[int, int]) -> tuple[int, int]:
    """Returns the size of the small map on which the background of a map (H,W) is computed."""
    reach, stride = 0, 1
    for layer in layers:
        reach += layer.kernel // 2 * stride
        stride *= layer.stride
    rows, cols = (_small_size(size, 4 * (reach + stride), stride) for size in shape)
    return rows, cols


@torch.no_grad()
def backgrounds(layers: tuple[ConvLayer, ...], shape: tuple[int, int]) -> list[Background]:
    """Computes the background of each layer of a chain.

    Args:
        layers: layers of the chain.
        shape: (H, W) of the chain's input.
    """
    small = small_shape(layers, shape)
    # Double precision costs little, as this runs once.
    x = torch.zeros(1, layers[0].weight.shape[1], *small, dtype=torch.float64)
    result = []
    sizes = list(shape)
    for layer in layers:
        pre_relu = layer.convolve(x.to(layer.weight.device))
        x = pre_relu.relu() if layer.relu else pre_relu
        sizes = [-(-size // layer.stride) for size in sizes]
        result.append(
            Background(
                _channels_last(pre_relu),
                _channels_last(x),
                _small_index(sizes[0], x.shape[2]),
                _small_index(sizes[1], x.shape[3]),
            )
        )
    return result


def _small_size(size: int, limit: int, stride: int) -> int:
    """Returns a size with the same remainder, so that strides reach the far border equally."""
    return size if size <= limit else limit + (size - limit) % stride


def _small_index(size: int, small: int) -> np.ndarray:
    """Returns the index on the small map of each index: both ends kept, the middle repeated."""
    middle = small // 2
    index = np.arange(size)
    far = np.maximum(index - (size - small), middle)
    return np.where(index < middle, index, far).astype(np.int32)


def _channels_last(x: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(x[0].permute(1, 2, 0).float().cpu().numpy())
