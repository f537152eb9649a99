# SPDX-License-Identifier: Apache-2.0
"""Runs a backbone of the registry the cheapest way that gives the dense result."""

from __future__ import annotations

import functools
import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tiny_bev_ros.engine.chain import ConvLayer, as_chain
from tiny_bev_ros.engine.stages import enough_memory
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models import scatter

PRECISIONS = ('float32', 'bfloat16', 'float16')
# Not on and off, which YAML takes for true and false.
SPARSITIES = ('auto', 'always', 'never')
# Random maps by which the cost of the sparse path is measured, as shares of active cells.
_TRIAL_SHARES = (0.002, 0.03)
_TRIALS = 3


@dataclass(frozen=True)
class FrameStatistics:
    """How the last frame was computed.

    Attributes:
        path: 'sparse' or 'dense'.
        active_share: part of the input's cells that were not empty; 1.0 where nobody looked.
        work_share: multiplications of the sparse path as part of those of the dense one.
    """

    path: str
    active_share: float
    work_share: float


class BackboneEngine:
    """A backbone in eval mode, sparse where that is cheaper, with the result of the dense one.

    The sparse path needs a network that is a chain of convolution, batch norm and ReLU, the
    CPU, and numba; `why_dense` says what is missing, and then every frame runs dense. It
    follows its weights: when they are changed in place or loaded anew, it is built again.

    Args:
        backbone: of the registry, in eval mode; is moved to the device.
        device: where to compute.
        precision: of the products: float32, bfloat16 or float16. Output is float32.
        sparsity: auto takes the cheaper path frame by frame; always and never force one.
        threads: of the sparse path; 0 for as many as PyTorch has.

    Attributes:
        in_channels, channels, stride: of input and output, and cells in per cell out.
        why_dense: '' or why there is no sparse path.
        statistics: of the last frame.

    Raises:
        TinyBevError: an argument is none of these, or sparsity is always but not possible.
    """

    def __init__(
        self,
        backbone: nn.Module,
        device: torch.device,
        *,
        precision: str = 'float32',
        sparsity: str = 'auto',
        threads: int = 0,
    ) -> None:
        for name, value, known in (
            ('precision', precision, PRECISIONS),
            ('sparsity', sparsity, SPARSITIES),
        ):
            if value not in known:
                raise TinyBevError(f'{name} is {value!r}; expected one of {", ".join(known)}')
        self._network = backbone.to(device)
        self._device, self._sparsity = device, sparsity
        self._dtype: torch.dtype = getattr(torch, precision)
        self._threads = threads or torch.get_num_threads()
        described: Any = backbone  # by the attributes that the registry asks for
        self.in_channels: int = described.in_channels
        self.channels: int = described.feature_info[-1].channels
        self.stride: int = described.feature_info[-1].stride
        self.statistics = FrameStatistics('dense', 1.0, 1.0)
        self._build()
        if sparsity == 'always' and self.why_dense:
            raise TinyBevError(f'sparsity is always, but {self.why_dense}; expected auto or never')

    @torch.inference_mode()
    def __call__(self, pseudo_image: Tensor) -> Tensor:
        """(B,C,H,W), on any device and of any float dtype, to (B,C_out,h,w) float32.

        The result is overwritten by the second next call.

        Raises:
            TinyBevError: the channels are not those of the backbone, it is in train mode, or
                memory is short.
        """
        self._check(pseudo_image.shape[1])
        with enough_memory(f'a pseudo-image of {tuple(pseudo_image.shape)}'):
            pseudo_image = pseudo_image.to(self._device, torch.float32)
            if not self._sparse_is_possible:
                return self._dense(pseudo_image, FrameStatistics('dense', 1.0, 1.0))
            if len(pseudo_image) == 1:
                shape = (pseudo_image.shape[2], pseudo_image.shape[3])
                features, cells = self._paths(shape).sparse.active(pseudo_image[0])
                return self._frame(features, cells, shape, lambda: pseudo_image)
            return torch.cat([self(frame[None]).clone() for frame in pseudo_image])

    @torch.inference_mode()
    def from_pillars(self, features: Tensor, cells: Tensor, shape: tuple[int, int]) -> Tensor:
        """The same for a pseudo-image that was never laid out.

        Args:
            features: (P,C) float32 of the pillars that are not empty.
            cells: (P,2) int64 [row, col] of each, each place once.
            shape: (H,W) of the map.

        Returns:
            (1,C_out,h,w) float32, overwritten by the second next call.
        """
        self._check(features.shape[1])
        with enough_memory(f'a map of {shape}'):
            if not self._sparse_is_possible:
                canvas = scatter(features, cells, shape)
                return self._dense(canvas, FrameStatistics('dense', 1.0, 1.0))
            return self._frame(features, cells, shape, lambda: scatter(features, cells, shape))

    @torch.inference_mode()
    def warm_up(self, shape: tuple[int, int]) -> None:
        """Allocates for a map of (H,W) and measures both paths, so that no frame has to."""
        if self._sparse_is_possible:
            self._paths(shape)
        else:
            self._run_dense(torch.zeros(1, self.in_channels, *shape, device=self._device))

    @property
    def _sparse_is_possible(self) -> bool:
        return not self.why_dense and self._sparsity != 'never'

    def _check(self, channels: int) -> None:
        if channels != self.in_channels:
            raise TinyBevError(
                f'channel size is {channels}; expected {self.in_channels}, as the backbone has'
            )
        if self._network.training:
            raise TinyBevError('the backbone is in train mode; expected eval mode')
        if self._fingerprint() != self._built_from:
            self._build()

    def _fingerprint(self) -> tuple[tuple[int, int], ...]:
        """Changes whenever a weight does (inference tensors, which nobody may change, aside)."""
        tensors = [*self._network.parameters(), *self._network.buffers()]
        return tuple(
            (tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version)
            for tensor in tensors
        )

    def _build(self) -> None:
        self._built_from = self._fingerprint()
        self._layers: tuple[ConvLayer, ...] = ()
        self._by_shape: dict[tuple[int, int], _Paths] = {}
        self.why_dense = ''
        try:
            self._layers = as_chain(self._network)
        except TinyBevError as error:
            self.why_dense = str(error)
        if self._device.type != 'cpu':
            self.why_dense = f'the sparse path does not run on {self._device.type}'
        elif importlib.util.find_spec('numba') is None:
            self.why_dense = 'the package numba is not installed'
        layout = torch.channels_last if self._device.type == 'cuda' else torch.contiguous_format
        self._dense_layers = [
            ConvLayer(
                layer.weight.to(self._dtype).contiguous(memory_format=layout),
                layer.bias.to(self._dtype),
                layer.stride,
                layer.relu,
            )
            for layer in self._layers
        ]

    def _run_dense(self, pseudo_image: Tensor) -> Tensor:
        if not self._dense_layers:
            with torch.autocast(
                self._device.type, self._dtype, enabled=self._dtype != torch.float32
            ):
                return self._network(pseudo_image).float()
        x = pseudo_image.to(self._dtype)
        for layer in self._dense_layers:
            x = layer(x)
        return x.float()

    def _dense(self, pseudo_image: Tensor, statistics: FrameStatistics) -> Tensor:
        self.statistics = statistics
        return self._run_dense(pseudo_image)

    def _frame(
        self,
        features: Tensor,
        cells: Tensor,
        shape: tuple[int, int],
        canvas: Callable[[], Tensor],
    ) -> Tensor:
        try:
            return self._either(features, cells, shape, canvas)
        except Exception:
            # Kept buffers may be half written: the next frame begins with new ones.
            self._by_shape.clear()
            raise

    def _either(
        self,
        features: Tensor,
        cells: Tensor,
        shape: tuple[int, int],
        canvas: Callable[[], Tensor],
    ) -> Tensor:
        paths = self._paths(shape)
        macs = paths.sparse.find(cells)
        work_share = macs / paths.dense_macs
        active_share = len(cells) / (shape[0] * shape[1])
        if self._sparsity == 'auto' and paths.sparse_seconds(macs) > paths.dense_seconds:
            return self._dense(canvas(), FrameStatistics('dense', active_share, work_share))
        self.statistics = FrameStatistics('sparse', active_share, work_share)
        return paths.sparse.compute(features)[None]

    def _paths(self, shape: tuple[int, int]) -> _Paths:
        if shape not in self._by_shape:
            self._by_shape.clear()  # a stream has one size; buffers of the last one are large
            self._by_shape[shape] = self._measure(shape)
        return self._by_shape[shape]

    def _measure(self, shape: tuple[int, int]) -> _Paths:
        """Builds the sparse path for a size, and times both if there is a choice."""
        from tiny_bev_ros.engine.sparse import SparseChain

        with torch.inference_mode(False):
            sparse = SparseChain(self._layers, shape, self._dtype, self._threads)
        paths = _Paths(sparse, dense_work(self._layers, shape))
        if self._sparsity != 'auto':
            return paths
        random = np.random.default_rng(0)
        costs = []
        for share in _TRIAL_SHARES:
            flat = np.flatnonzero(random.random(shape[0] * shape[1]) < share)
            cells = torch.from_numpy(np.stack([flat // shape[1], flat % shape[1]], axis=1))
            features = torch.rand(len(cells), self.in_channels)
            seconds, macs = _median_seconds(
                functools.partial(_find_and_compute, sparse, cells, features)
            )
            costs.append((macs, seconds))
        (few, quick), (many, slow) = costs
        paths.seconds_per_mac = max(slow - quick, 0.0) / max(many - few, 1)
        paths.fixed_seconds = max(quick - paths.seconds_per_mac * few, 0.0)
        canvas = torch.zeros(1, self.in_channels, *shape)
        paths.dense_seconds, _ = _median_seconds(lambda: self._run_dense(canvas))
        return paths


@dataclass
class _Paths:
    """Both ways for one size of map, and what they cost."""

    sparse: Any
    dense_macs: int
    seconds_per_mac: float = 0.0
    fixed_seconds: float = 0.0
    dense_seconds: float = float('inf')

    def sparse_seconds(self, macs: int) -> float:
        return self.fixed_seconds + macs * self.seconds_per_mac


def dense_work(layers: tuple[ConvLayer, ...], shape: tuple[int, int]) -> int:
    """Multiplications of a chain on a map of (H,W)."""
    rows, cols = shape
    total = 0
    for layer in layers:
        rows, cols = -(-rows // layer.stride), -(-cols // layer.stride)
        total += rows * cols * layer.weight.numel()
    return total


def _find_and_compute(sparse: Any, cells: Tensor, features: Tensor) -> int:
    macs = sparse.find(cells)
    sparse.compute(features)
    return macs


def _median_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    work()
    times = []
    for _ in range(_TRIALS):
        begin = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - begin)
    return sorted(times)[_TRIALS // 2], result
