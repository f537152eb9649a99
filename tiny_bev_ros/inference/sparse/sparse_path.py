# SPDX-License-Identifier: Apache-2.0
"""Sparse path of one map size: its construction, its warm-up, and the choice of the cheaper path.

A frame is cheaper on the sparse path while its work fraction (multiplications of the sparse
path over those of the dense path, in the chain) is at most a constant of the device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tiny_bev_ros.inference.numba_support import numba_unavailable_reason
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer
from tiny_bev_ros.inference.sparse.torch_chain import TorchChain

if TYPE_CHECKING:
    from tiny_bev_ros.inference.sparse.sparse_chain import SparseChain

# Measured on two cores of a Xeon with AVX-512, float32, 1 and 2 threads: both paths in turn, on
# maps of 200x200 to 496x432 with 2 to 100 % of the cells active, for every registered backbone.
# - With numba, at default widths, the sparse path costs at most 6 % more, even with every cell
#   active: work fractions end at 0.31 to 0.68 there, as Winograd saves multiplications.
# - Without numba, the paths cost the same at 0.53 to 0.87; 0.7 loses at most 27 %.
# - Networks of 16 channels, none of which is registered, break even at 0.15 to 0.33: they lose up
#   to 53 % where at most 20 % of the cells are active, and 122 % where all are. They should be run
#   with `sparsity: never`.
# Real and simulated LiDAR clouds have 0.04 to 0.22 (numba).
CPU_MAX_WORK_FRACTION = 0.7
# Estimated, not measured, as no CUDA device was available. By a roofline of an RTX 2050 (fp16,
# tiny backbone, 496x432 cells) PyTorch's gathers and products cost as much as the dense CUDA graph
# where about 6 % of the cells hold a pillar. KITTI sweeps that fill 5.5 to 6.6 % of that grid have
# a work fraction of 0.25 to 0.28.
CUDA_MAX_WORK_FRACTION_ESTIMATE = 0.25

# Fraction of active cells in the random map of the warm-up, which is also assumed when memory is
# computed.
WARMUP_FRACTION = 0.03


def uses_numba(device: torch.device) -> bool:
    """Returns True if the sparse path on a device runs numba kernels, False if it runs PyTorch.

    The first call on a CPU loads numba.
    """
    return device.type == 'cpu' and not numba_unavailable_reason()


@torch.inference_mode(False)  # The buffers outlive a caller's inference mode.
def make_chain(
    layers: tuple[ConvLayer, ...],
    shape: tuple[int, int],
    dtype: torch.dtype,
    device: torch.device,
    threads: int,
) -> SparseChain | TorchChain:
    """Builds the sparse path of one map size.

    Args:
        layers: layers of the chain.
        shape: (H,W) of the map.
        dtype: compute dtype.
        device: device of the computation.
        threads: number of threads of the numba kernels; PyTorch's own setting holds elsewhere.
    """
    if not uses_numba(device):
        return TorchChain(layers, shape, dtype, device)
    # Imported here, as the module needs numba.
    from tiny_bev_ros.inference.sparse.sparse_chain import SparseChain

    return SparseChain(layers, shape, dtype, threads)


def sparse_is_cheaper(work_fraction: float, device: torch.device) -> bool:
    """Returns True if the sparse path is expected to be the cheaper one for a frame.

    Args:
        work_fraction: multiplications of the sparse path over those of the dense path.
        device: device of the computation.
    """
    on_cpu = device.type == 'cpu'
    limit = CPU_MAX_WORK_FRACTION if on_cpu else CUDA_MAX_WORK_FRACTION_ESTIMATE
    return work_fraction <= limit


def warm_up(
    chain: SparseChain | TorchChain, channels: int, shape: tuple[int, int], device: torch.device
) -> None:
    """Runs a chain on a random map: compiles its kernels and allocates its buffers.

    Args:
        chain: sparse path for maps of that shape.
        channels: number of channels of the map.
        shape: (H,W) of the map.
        device: device of the chain.
    """
    features, cells = random_pillars(WARMUP_FRACTION, channels, shape, device)
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
