# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""The sparse path of one map size: its construction and its warm-up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tiny_bev_ros.inference.cuda_graph import capture_on
from tiny_bev_ros.inference.numba_support import numba_unavailable_reason
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer
from tiny_bev_ros.inference.sparse.torch_chain import TorchChain
from tiny_bev_ros.inference.triton_support import triton_unavailable_reason

if TYPE_CHECKING:
    from tiny_bev_ros.inference.sparse.sparse_chain import SparseChain
    from tiny_bev_ros.inference.sparse.triton_chain import TritonChain

    Chain = SparseChain | TorchChain | TritonChain

# Fraction of active cells in the random map that warms a runner up, and by which its memory is
# computed.
WARMUP_FRACTION = 0.03


def uses_numba(device: torch.device) -> bool:
    """Returns True if the sparse path on a device runs numba kernels.

    The first call on a CPU loads numba.
    """
    return device.type == 'cpu' and not numba_unavailable_reason()


def uses_triton(device: torch.device) -> bool:
    """Returns True if the sparse path on a device runs Triton's kernels."""
    return device.type == 'cuda' and not triton_unavailable_reason(device)


@torch.inference_mode(False)  # The buffers outlive a caller's inference mode.
def make_chain(
    layers: tuple[ConvLayer, ...],
    shape: tuple[int, int],
    dtype: torch.dtype,
    device: torch.device,
    threads: int,
    after: Callable[[Tensor], Tensor] | None = None,
) -> Chain:
    """Builds the sparse path of one map size.

    Args:
        layers: layers of the chain.
        shape: (H,W) of the map.
        dtype: compute dtype.
        device: device of the computation.
        threads: number of threads of the numba kernels; PyTorch's own setting holds elsewhere.
        after: network that follows the chain, which a TritonChain computes too.
    """
    if uses_triton(device):
        # Imported here, as the module needs triton.
        from tiny_bev_ros.inference.sparse.triton_chain import TritonChain

        return TritonChain(layers, shape, dtype, device, capture_on(device), after)
    if not uses_numba(device):
        return TorchChain(layers, shape, dtype, device)
    # Imported here, as the module needs numba.
    from tiny_bev_ros.inference.sparse.sparse_chain import SparseChain

    return SparseChain(layers, shape, dtype, threads, followed=after is not None)


def warm_up(chain: Chain, channels: int, shape: tuple[int, int], device: torch.device) -> None:
    """Runs a chain on a random map: compiles its kernels and allocates its buffers.

    Args:
        chain: sparse path for maps of that shape.
        channels: number of channels of the map.
        shape: (H,W) of the map.
        device: device of the chain.
    """
    features, cells = random_pillars(WARMUP_FRACTION, channels, shape, device)
    features[:1] *= 1e6  # compiles the kernels of hot tiles, too
    chain.find(cells)
    chain.compute(features)


def random_pillars(
    fraction: float, channels: int, shape: tuple[int, int], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Draws the pillars of a random map, the same ones at every call.

    Args:
        fraction: probability that a cell holds a pillar.
        channels: number of channels.
        shape: (H,W) of the map.
        device: device of the result.

    Returns:
        Features (N,C) float32 and cells (N,2) int64 [row, col].
    """
    generator = torch.Generator().manual_seed(0)
    cells = (torch.rand(shape, generator=generator) < fraction).nonzero()
    features = torch.rand(len(cells), channels, generator=generator)
    return features.to(device), cells.to(device)
