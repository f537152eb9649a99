# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Sparse and dense path of a backbone, built from its weights, and the choice between them.

On the CPU a frame is cheaper on the sparse path while its work fraction (multiplications of the
sparse path over those of the dense path, in the chain) is at most a constant. On CUDA it is so
while the fraction of its cells that are active is at most a constant: the host knows it, whereas
it would have to wait for the number of multiplications.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.backbone_memory import BackboneMemory
from tiny_bev_ros.inference.cuda_graph import capture_on
from tiny_bev_ros.inference.dense_path import DensePath
from tiny_bev_ros.inference.folded_module import FoldedModule
from tiny_bev_ros.inference.overflow_watch import OverflowWatch
from tiny_bev_ros.inference.precision import dtype_name
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer, as_chain, chain_part, dense_work
from tiny_bev_ros.inference.sparse.sparse_path import make_chain, uses_triton, warm_up
from tiny_bev_ros.inference.weight_fingerprint import fingerprint

if TYPE_CHECKING:
    from tiny_bev_ros.inference.sparse.sparse_path import Chain

# Measured on two cores of a Xeon with AVX-512, float32, 1 and 2 threads: both paths in turn, on
# maps of 200x200 to 496x432 with 2 to 100 % of the cells active, for every registered backbone.
# - With numba, at default widths, the sparse path costs at most 6 % more, even with every cell
#   active: work fractions end at 0.31 to 0.68 there, as Winograd saves multiplications.
# - Without numba, the paths cost the same at 0.53 to 0.87; 0.7 loses at most 27 %.
# - Networks of 16 channels, none of which is registered, break even at 0.15 to 0.33: they lose
#   up to 53 % where at most 20 % of the cells are active, and 122 % where all are. They should
#   be run with `sparsity: never`.
# Real and simulated LiDAR clouds have 0.04 to 0.22 (numba).
CPU_MAX_WORK_FRACTION = 0.7
# Estimates, not measurements: no CUDA device was available. By a roofline of an RTX 2050 (fp16,
# tiny backbone, 496x432 cells, of which 6 % hold a pillar, which is a work fraction of 0.25 for
# KITTI sweeps) a frame takes 9 ms on the dense path, 15 to 17 ms with PyTorch's gathers and
# products, and 3.5 to 5.5 ms with Triton's kernels. The sparse paths take time in proportion to
# their active sites, so the paths cost the same at about 0.06 * 9 / 16 and 0.06 * 9 / 4.5.
TORCH_CUDA_MAX_ACTIVE_FRACTION_ESTIMATE = 0.035
TRITON_MAX_ACTIVE_FRACTION_ESTIMATE = 0.12
# A larger map is not computed densely at a warm-up on the CPU: it would take seconds, and
# gigabytes, of which nothing is kept.
_MAX_DENSE_WARMUP_CELLS = 2**18


@dataclass(frozen=True)
class FrameStatistics:
    """Path and work of the last frame.

    Attributes:
        path: sparse or dense, or the runtime of an exported network: onnxruntime or openvino.
        active_fraction: fraction of the input's cells that were not empty; 1.0 where they were
            not counted.
        work_fraction: multiplications of the sparse path over those of the dense one, in the
            part of the network that can be sparse; NaN where the host does not know them, as on
            CUDA.
        precision: compute dtype, such as bfloat16.
    """

    path: str
    active_fraction: float
    work_fraction: float
    precision: str


class BackbonePaths:
    """Both paths of a backbone with its current weights, in eval mode.

    Args:
        network: backbone of the registry, on the device.
        device: device on which to compute.
        dtype: compute dtype.
        sparsity: auto takes the cheaper path frame by frame; always and never force one.
        threads: threads of the numba kernels.

    Attributes:
        dense_reason: reason for which there is no sparse path; '' where there is one.
        statistics: path and work of the last frame.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device,
        dtype: torch.dtype,
        sparsity: str,
        threads: int,
    ) -> None:
        self._network, self._fingerprint = network, fingerprint(network)
        self._device, self._dtype = device, dtype
        self._sparsity, self._threads = sparsity, threads
        self.dense_reason = ''
        self.statistics = self._statistics('dense')
        self._layers: tuple[ConvLayer, ...] = ()
        self._chains: dict[tuple[int, int], Chain] = {}
        on_cpu = device.type == 'cpu'
        # With TF32 a GPU rounds by more than the tolerance for a chain against its network.
        on_host = network if on_cpu else copy.deepcopy(network).cpu()
        chain, followed = chain_part(network)
        self._after: FoldedModule | None = None
        if followed:
            self._after = FoldedModule(network, device, dtype, 'after_chain', threads)
        try:
            self._layers = as_chain(chain_part(on_host)[0])
        except TinyBevError as error:
            self.dense_reason = str(error)
        self._watch = OverflowWatch(device) if dtype == torch.float16 else None
        self._dense = DensePath(
            chain, self._layers, device, dtype, capture_on(device), self._after, self._watch
        )

    @property
    def is_current(self) -> bool:
        """True while the backbone has the weights from which the paths were built."""
        return fingerprint(self._network) == self._fingerprint

    @property
    def no_graph_reason(self) -> str:
        """Reason for which a path has no CUDA graph, or ''; known after `warm_up`."""
        reasons = (chain.no_graph_reason for chain in self._chains.values())
        return self._dense.no_graph_reason or next(filter(None, reasons), '')

    @property
    def unfused_reason(self) -> str:
        """Reason for which the dense path runs ReLU apart on CUDA, or ''; see `DensePath`."""
        return self._dense.unfused_reason

    @property
    def overflow_reason(self) -> str:
        """Text that names an overflow of float16 in an earlier frame, or ''."""
        return '' if self._watch is None else self._watch.reason

    def poll_overflow(self) -> None:
        """Warns of an overflow of float16 in an earlier frame; does not wait for the device."""
        if self._watch is not None:
            self._watch.poll()

    @property
    def _sparse_is_possible(self) -> bool:
        return not self.dense_reason and self._sparsity != 'never'

    def from_image(self, pseudo_image: Tensor) -> Tensor:
        """Computes BEV features of (B,C,H,W) float32 on the device; see BackboneRunner."""
        if not self._sparse_is_possible:
            return self._run_dense(lambda: self._dense(pseudo_image))
        if len(pseudo_image) == 1:
            shape = (pseudo_image.shape[2], pseudo_image.shape[3])
            features, cells = self._chain(shape).active(pseudo_image[0])
            return self._run_cheaper(features, cells, shape, lambda: self._dense(pseudo_image))
        return torch.cat([self.from_image(frame[None]).clone() for frame in pseudo_image])

    def from_pillars(self, features: Tensor, cells: Tensor, shape: tuple[int, int]) -> Tensor:
        """Computes BEV features of pillars on the device; see BackboneRunner."""

        def dense() -> Tensor:
            return self._dense.from_pillars(features, cells, shape)

        if not self._sparse_is_possible:
            return self._run_dense(dense)
        return self._run_cheaper(features, cells, shape, dense)

    def warm_up(self, shape: tuple[int, int], channels: int) -> None:
        """Runs, for a map of (H,W), every path that frames may take."""
        if self._sparse_is_possible:
            warm_up(self._chain(shape), channels, shape, self._device)
        dense = not self._sparse_is_possible or self._sparsity == 'auto'
        small = shape[0] * shape[1] <= _MAX_DENSE_WARMUP_CELLS
        if dense and (self._device.type != 'cpu' or small):
            nothing = torch.zeros(0, channels, device=self._device)
            cells = torch.zeros(0, 2, dtype=torch.long, device=self._device)
            self._dense.from_pillars(nothing, cells, shape)

    def needed_bytes(
        self, shape: tuple[int, int], in_channels: int, channels: int, stride: int
    ) -> int:
        """Returns the memory of the device that a map of (H,W) takes, computed from the sizes."""
        needs = BackboneMemory(
            self._layers, self._after is not None, in_channels, channels, stride
        )
        return needs.bytes(shape, self._dtype, self._device, self._sparsity)

    def release(self) -> None:
        """Frees buffers and CUDA graphs; the next frame allocates them anew."""
        self._chains.clear()
        self._dense.release()

    def _run_cheaper(
        self,
        features: Tensor,
        cells: Tensor,
        shape: tuple[int, int],
        dense: Callable[[], Tensor],
    ) -> Tensor:
        chain = self._chain(shape)
        try:
            active = len(cells) / (shape[0] * shape[1])
            chosen = self._sparsity == 'auto'
            on_cpu = self._device.type == 'cpu'
            if chosen and not on_cpu and active > max_active_fraction(self._device):
                self.statistics = self._statistics('dense', active, math.nan)
                return dense()
            work = chain.find(cells) / dense_work(self._layers, shape)
            if chosen and on_cpu and not sparse_is_cheaper(work):
                self.statistics = self._statistics('dense', active, work)
                return dense()
            self.statistics = self._statistics('sparse', active, work)
            result: Tensor = chain.compute(features)[None]
            if self._after is not None and not chain.computes_after:
                result = self._after(result)
            return result if self._watch is None else self._watch(result)
        except Exception:
            # Kept buffers may be half written: the next frame begins with new ones.
            self._chains.clear()
            raise

    def _run_dense(self, dense: Callable[[], Tensor]) -> Tensor:
        self.statistics = self._statistics('dense')
        return dense()

    def _statistics(
        self, path: str, active_fraction: float = 1.0, work_fraction: float = 1.0
    ) -> FrameStatistics:
        return FrameStatistics(path, active_fraction, work_fraction, dtype_name(self._dtype))

    def _chain(self, shape: tuple[int, int]) -> Chain:
        if shape not in self._chains:
            self._chains[shape] = make_chain(
                self._layers, shape, self._dtype, self._device, self._threads, self._after
            )
        return self._chains[shape]


def sparse_is_cheaper(work_fraction: float) -> bool:
    """Returns True if the sparse path is expected to be the cheaper one for a frame on the CPU.

    Args:
        work_fraction: multiplications of the sparse path over those of the dense path.
    """
    return work_fraction <= CPU_MAX_WORK_FRACTION


def max_active_fraction(device: torch.device) -> float:
    """Returns the fraction of active cells up to which the sparse path is taken on CUDA."""
    if uses_triton(device):
        return TRITON_MAX_ACTIVE_FRACTION_ESTIMATE
    return TORCH_CUDA_MAX_ACTIVE_FRACTION_ESTIMATE
