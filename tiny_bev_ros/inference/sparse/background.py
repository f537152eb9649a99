# SPDX-License-Identifier: Apache-2.0
"""What a chain of convolutions answers to an empty map.

It depends on the weights alone and is one constant vector per layer, except near the border,
where zero padding shows. So it is computed once on a small empty map and looked up: a map of
any size is the small one with its middle row and column repeated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer


@dataclass(frozen=True)
class Background:
    """The answer of one layer to an empty map of a given size.

    Attributes:
        before: (h, w, C) float32, before ReLU, on the small map.
        after: (h, w, C) float32, after it.
        row: (H,) int32, row of the small map for each row of the layer's output.
        col: (W,) int32, likewise for columns.
    """

    before: np.ndarray
    after: np.ndarray
    row: np.ndarray
    col: np.ndarray

    def full(self) -> np.ndarray:
        """(C, H, W) float32, after ReLU, at the size of the layer's output."""
        # The small map is turned, not the large one, which would take seconds.
        planes = np.ascontiguousarray(self.after.transpose(2, 0, 1))
        return planes[:, self.row].take(self.col, axis=2)


@torch.no_grad()
def backgrounds(layers: tuple[ConvLayer, ...], shape: tuple[int, int]) -> list[Background]:
    """Background of each layer.

    Args:
        layers: the chain.
        shape: (H, W) of the map that goes in.
    """
    reach, stride = 0, 1
    for layer in layers:
        reach += layer.kernel // 2 * stride
        stride *= layer.stride
    small = [_small_size(size, 4 * (reach + stride), stride) for size in shape]
    # In double precision: it is paid once, and what is added to it is rounded anyway.
    x = torch.zeros(1, layers[0].weight.shape[1], *small, dtype=torch.float64)
    result = []
    sizes = list(shape)
    for layer in layers:
        before = layer.before_relu(x.to(layer.weight.device))
        x = before.relu() if layer.relu else before
        sizes = [-(-size // layer.stride) for size in sizes]
        result.append(
            Background(
                _channels_last(before),
                _channels_last(x),
                _classes(sizes[0], x.shape[2]),
                _classes(sizes[1], x.shape[3]),
            )
        )
    return result


def _small_size(size: int, limit: int, stride: int) -> int:
    """A size with the same remainder, so that strides meet the far border alike."""
    return size if size <= limit else limit + (size - limit) % stride


def _classes(size: int, small: int) -> np.ndarray:
    """Index on the small map of each index on the large one: both ends kept, middle repeated."""
    middle = small // 2
    index = np.arange(size)
    far = np.maximum(index - (size - small), middle)
    return np.where(index < middle, index, far).astype(np.int32)


def _channels_last(x: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(x[0].permute(1, 2, 0).float().cpu().numpy())
