# SPDX-License-Identifier: Apache-2.0
"""The sparse path for one size of map, and whether a frame should take it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from tiny_bev_ros.inference.dense import DensePath, dense_work
from tiny_bev_ros.inference.numba_support import numba_unavailable_reason
from tiny_bev_ros.inference.sparse.cached_costs import machine_key, remembered
from tiny_bev_ros.inference.sparse.cost_model import CostModel, measurable, measure
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer
from tiny_bev_ros.inference.sparse.torch_chain import TorchChain

if TYPE_CHECKING:
    from tiny_bev_ros.inference.sparse.sparse_chain import SparseChain


def made_with_numba(device: torch.device) -> bool:
    """Tells whether numba makes the sparse path on a device; else PyTorch does."""
    return device.type == 'cpu' and not numba_unavailable_reason()


class PathSelector:
    """Made with numba on the CPU, with PyTorch on CUDA and where numba cannot be used.

    Args:
        layers: the chain.
        shape: (H,W) of the map.
        dtype: of the products.
        device: where to compute.
        threads: of the path with numba.
        dense: what else a frame could take; None if it always takes the sparse path.

    Attributes:
        sparse: the path.
        dense_macs: multiplications of the dense one.
        costs: of both, or None.
    """

    @torch.inference_mode(False)  # the buffers outlive a caller's inference mode
    def __init__(
        self,
        layers: tuple[ConvLayer, ...],
        shape: tuple[int, int],
        dtype: torch.dtype,
        device: torch.device,
        threads: int,
        dense: DensePath | None,
    ) -> None:
        path = 'numba' if made_with_numba(device) else 'torch'

        def make(size: tuple[int, int]) -> SparseChain | TorchChain:
            if path == 'torch':
                return TorchChain(layers, size, dtype, device)
            from tiny_bev_ros.inference.sparse.sparse_chain import SparseChain

            return SparseChain(layers, size, dtype, threads)

        self.dense_macs = dense_work(layers, shape)
        self.sparse = make(shape)
        self.costs: CostModel | None = None
        if dense:
            part = measurable(shape)

            def measured() -> CostModel:
                sparse = self.sparse if part == shape else make(part)
                return measure(sparse, dense, layers[0].weight.shape[1], part, device)

            costs = remembered(machine_key(layers, part, dtype, device, threads, path), measured)
            self.costs = costs.scaled(math.prod(shape) / math.prod(part))

    def is_sparse(self, macs: int) -> bool:
        """Whether a frame of so many multiplications should take the sparse path."""
        return self.costs is None or self.costs.sparse_is_cheaper(macs)
