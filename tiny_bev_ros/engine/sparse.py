# SPDX-License-Identifier: Apache-2.0
"""A chain of convolutions computed only where the map differs from an empty one.

Every activation is the answer to an empty map (the background, known in advance) plus a delta,
which is zero but at active sites: the non-empty cells, and around them one more ring per 3x3
convolution. So a layer is, at its active sites alone, a product of the neighbours' deltas with
the weights; the background's value before ReLU takes the place of the bias. The result is that
of the dense network.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from tiny_bev_ros.engine import kernels
from tiny_bev_ros.engine.background import backgrounds
from tiny_bev_ros.engine.chain import ConvLayer
from tiny_bev_ros.engine.sparse_layer import Sites, SparseLayer


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
        self._input = Sites(layers[0].weight.shape[1], dtype)
        self._layers = []
        size: tuple[int, int] = shape
        for index, (layer, background) in enumerate(
            zip(layers, backgrounds(layers, shape), strict=True)
        ):
            last = index == len(layers) - 1
            self._layers.append(SparseLayer(layer, background, size, dtype, last))
            size = (len(background.row), len(background.col))
        # Each thread multiplies alone: PyTorch's own threads would be a second pool on the
        # same cores. Its thread count is a setting of each thread.
        self._pool = (
            ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
            if threads > 1
            else None
        )
        self._outputs = [_Output(self._layers[-1]) for _ in range(2)]
        self._blocks: list[Any] = []

    @torch.inference_mode(False)  # the buffers outlive a caller's inference mode
    def find(self, cells: np.ndarray) -> int:
        """Takes the active cells (N,2) [row, col]; returns the multiplications to come."""
        self._input.resize(len(cells))
        self._input.cells[1 : len(cells) + 1] = cells
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
        self._input.rows[1 : len(features) + 1] = features
        sites = self._input
        for layer, blocks in zip(self._layers, self._blocks, strict=True):
            layer.compute(sites, blocks, self._run)
            sites = layer.sites
        self._outputs.reverse()
        return self._outputs[0].write()

    def _run(self, work: Any, blocks: Any) -> None:
        if self._pool is None:
            for block in blocks:
                work(block)
        else:
            list(self._pool.map(work, blocks))


class _Output:
    """A (C,h,w) map that is the background but where sites were written."""

    def __init__(self, layer: SparseLayer) -> None:
        self._layer = layer
        self._map = layer.background.full()
        self._was = np.zeros(self._map.shape[1:], np.bool_)
        self._numbers = np.zeros(np.add(self._was.shape, 2), np.int32)

    def write(self) -> torch.Tensor:
        background, sites = self._layer.background, self._layer.sites
        kernels.number_sites(sites.cells, sites.count, self._numbers)
        kernels.update_map(
            sites.rows.numpy(),
            self._numbers,
            self._was,
            background.row,
            background.col,
            background.after,
            self._map,
        )
        kernels.clear_sites(sites.cells, sites.count, self._numbers)
        return torch.from_numpy(self._map)
