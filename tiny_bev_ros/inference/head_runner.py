# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Runs the heads: BEV features to objects, drivable area and outputs of further heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.cuda_graph import RecordedWork, capture_on
from tiny_bev_ros.inference.fast_nms import compile_nms, fast_nms
from tiny_bev_ros.inference.folded_module import FoldedModule
from tiny_bev_ros.inference.memory import computing
from tiny_bev_ros.inference.precision import dtype_for
from tiny_bev_ros.models.device import copy_to_device, copy_to_host
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.models.heads.head_registry import DecodeOptions, Head


class HeadOutputs(dict[str, Any]):
    """Outputs of one frame by name of the head, on the CPU; see `Head.output_type`."""

    @property
    def detections(self) -> Detections | None:
        """Detected objects; None without the detection head."""
        return self.get('detection')

    @property
    def drivable(self) -> Tensor | None:
        """(h,w) float32 probability of road surface by cell; None without the drivable head."""
        return self.get('drivable')


class HeadRunner:
    """Runs registered heads on BEV features.

    On CUDA the launches for features of a shape are recorded once, as a CUDA graph, and the host
    waits once for a frame.

    Args:
        heads: registered heads by name, in eval mode.
        device: device to compute on.
        precision: compute dtype, see `dtype_for`.
        threads: threads of the numba kernels; 0 for as many as PyTorch has.

    Attributes:
        channels: number of channels of the features.
    """

    def __init__(
        self,
        heads: Mapping[str, nn.Module],
        device: torch.device,
        precision: str = 'float32',
        threads: int = 0,
    ) -> None:
        dtype = dtype_for(precision, device)
        self._heads = {name: cast(Head, head) for name, head in heads.items()}
        networks = [
            FoldedModule(head, device, dtype, threads=threads) for head in self._heads.values()
        ]
        self._select = _Selection(networks, device, dtype)
        self._device = device
        self.channels = next(iter(self._heads.values())).in_channels

    @torch.inference_mode()
    def __call__(
        self, features: Tensor, grid: BevGrid, min_scores: tuple[float, ...]
    ) -> HeadOutputs:
        """Returns the outputs for the first frame of the features.

        Args:
            features: (B,C,h,w) of a float dtype, on any device.
            grid: grid of the features.
            min_scores: lowest score of a reported object, for each class.

        Raises:
            TinyBevError: the channels are not those of the heads, the grid is of another size,
                there is not one score for each class, or memory is short.
        """
        if features.ndim != 4 or not len(features) or tuple(features.shape[2:]) != grid.shape:
            raise TinyBevError(
                f'features have shape {tuple(features.shape)}; expected (B, {self.channels}, '
                f'{grid.shape[0]}, {grid.shape[1]}), as the grid'
            )
        if features.shape[1] != self.channels:
            raise TinyBevError(
                f'channel size is {features.shape[1]}; expected {self.channels}, as the heads have'
            )
        options = DecodeOptions(min_scores, fast_nms)
        with computing(f'features of {tuple(features.shape)}', self._device):
            selected = self._select(features[:1])
            return HeadOutputs(
                (name, head.finish(frame, grid, options))
                for (name, head), frame in zip(self._heads.items(), selected, strict=True)
            )

    def warm_up(self, shape: tuple[int, int] | None) -> None:
        """Prepares everything that would delay the first frame.

        Args:
            shape: size (h,w) of the features; None where it is unknown. Their launches are
                recorded on CUDA; on the CPU no map is computed.

        Raises:
            TinyBevError: memory is short.
        """
        compile_nms()
        if shape is not None and self._device.type == 'cuda':
            with torch.inference_mode(), computing(f'features of {shape}', self._device):
                self._select(torch.zeros(1, self.channels, *shape, device=self._device))

    def release(self) -> None:
        """Frees buffers and CUDA graphs; the next frame allocates them anew."""
        self._select.release()


class _Selection:
    """Computes the selections of all heads, and copies them to the host.

    Args:
        heads: prepared networks, of class `Head`.
        device: device to compute on.
        dtype: compute dtype.
    """

    def __init__(
        self, heads: Sequence[FoldedModule], device: torch.device, dtype: torch.dtype
    ) -> None:
        self._heads, self._device, self._dtype = heads, device, dtype
        self._kept: Tensor | None = None
        self._recorded: RecordedWork[tuple[Tensor, list[Tensor]]] | None = None

    def __call__(self, features: Tensor) -> list[Tensor]:
        """Returns the selection of each head, for the only frame of features (1,C,h,w)."""
        if self._device.type == 'cpu':
            features = features.to(self._device, self._dtype)
            return [each[0] for each in _selections(self._heads, features)]
        if self._recorded is None or self._kept is None or self._kept.shape != features.shape:
            self._kept, self._recorded = self._record(features.shape)
        # One launch for dtype and layout.
        self._kept.copy_(copy_to_device(features, self._device))
        packed, selections = self._recorded()
        (on_host,) = copy_to_host(packed)
        parts = on_host.split([each.numel() for each in selections])
        pairs = zip(parts, selections, strict=True)
        return [part.view(selection.shape)[0] for part, selection in pairs]

    def release(self) -> None:
        """Frees the buffers and the recording."""
        self._kept = self._recorded = None

    def _record(
        self, shape: torch.Size
    ) -> tuple[Tensor, RecordedWork[tuple[Tensor, list[Tensor]]]]:
        """Records the work for a shape in place of the last, as a stream has one shape."""
        self.release()
        # Tensor cores take this layout without conversions.
        half = self._dtype != torch.float32
        layout = torch.channels_last if half else torch.contiguous_format
        kept = torch.zeros(shape, dtype=self._dtype, device=self._device)
        kept, heads = kept.contiguous(memory_format=layout), self._heads

        def work() -> tuple[Tensor, list[Tensor]]:
            selections = _selections(heads, kept)
            return torch.cat([each.flatten() for each in selections]), selections

        recorded = RecordedWork(work, self._device, capture_on(self._device))
        recorded.record()
        return kept, recorded


def _selections(heads: Sequence[FoldedModule], features: Tensor) -> list[Tensor]:
    # The copy selects, as its buffers lie on the device.
    return [cast(Head, head.module).select(head(features)) for head in heads]
