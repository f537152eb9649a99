# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Runs a backbone of the registry on the cheaper of two paths with equal results."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.backbone_paths import BackbonePaths, FrameStatistics
from tiny_bev_ros.inference.memory import computing, expect_free
from tiny_bev_ros.inference.precision import PRECISIONS, choose_dtype
from tiny_bev_ros.models.device import copy_to_device
from tiny_bev_ros.models.pillars import check_pillars, check_shape

# Not on and off, which YAML takes for true and false.
SPARSITIES = ('auto', 'always', 'never')


class BackboneRunner:
    """Backbone in eval mode, computed sparsely where that is cheaper, with the dense result.

    The sparse path needs a network that is a chain of convolution, batch norm and ReLU, or
    begins with one (see `tiny_bev_ros.models.registry`); other networks run dense. The part that
    follows a chain is computed on the whole map. On the CPU the sparse path runs numba kernels, on
    CUDA those of Triton, and where these cannot be used, PyTorch. When its weights are changed in
    place or loaded anew, the runner rebuilds its paths.

    Args:
        backbone: backbone of the registry, in eval mode; is moved to the device.
        device: device on which to compute.
        precision: compute dtype: float32 (never TF32), bfloat16, float16, or auto for the
            `auto_dtype` of the device.
        sparsity: auto takes the cheaper path frame by frame; always and never force one.
        threads: threads of the numba kernels; 0 for as many as PyTorch has.

    Attributes:
        in_channels: number of input channels.
        channels: number of output channels.
        stride: side of an output cell, in input cells.
        float32_reason: reason for which the compute dtype is float32 although ``precision`` is
            another, which would be slower on this CPU; '' for none.

    Raises:
        TinyBevError: an argument has no such value, the backbone is in train mode, or sparsity
            is always but not possible.
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
        self._dtype, self.float32_reason = choose_dtype(precision, device)
        self._threads = threads or torch.get_num_threads()
        described: Any = backbone  # with the attributes that the registry requires
        self.in_channels: int = described.in_channels
        self.channels: int = described.feature_info[-1].channels
        self.stride: int = described.feature_info[-1].stride
        self._checked_shape: tuple[int, int] | None = None  # map size whose memory was checked
        self._refuse_train_mode()
        self._paths = self._build()
        if sparsity == 'always' and self.dense_reason:
            raise TinyBevError(
                f'sparsity is always, but {self.dense_reason}; expected auto or never'
            )

    @torch.inference_mode()
    def __call__(self, pseudo_image: Tensor) -> Tensor:
        """Computes BEV features of pseudo-images.

        Args:
            pseudo_image: (B,C,H,W), on any device and of any float dtype.

        Returns:
            (B,C_out,h,w) in float32 or the compute dtype, contiguous or channels_last;
            overwritten by the second next call.

        Raises:
            TinyBevError: the pseudo-image has another shape, or no float dtype; the channels are
                not those of the backbone, it is in train mode, or memory is short.
        """
        check_pseudo_image(pseudo_image, self.in_channels)
        self._check((pseudo_image.shape[2], pseudo_image.shape[3]))
        with computing(f'a pseudo-image of {tuple(pseudo_image.shape)}', self._device):
            on_device = copy_to_device(pseudo_image, self._device)
            return self._paths.from_image(on_device.to(torch.float32))

    @torch.inference_mode()
    def from_pillars(self, features: Tensor, cells: Tensor, shape: tuple[int, int]) -> Tensor:
        """Computes BEV features of pillars, without their pseudo-image where possible.

        Args:
            features: (P,C) pillar features, on any device, of any float dtype.
            cells: (P,2) int64 [row, col] of each pillar, all different, on any device.
            shape: (H,W) of the pseudo-image.

        Returns:
            (1,C_out,h,w), as of `__call__`.

        Raises:
            TinyBevError: a shape or dtype is wrong, a cell is outside of the map or has several
                pillars, or for the reasons of `__call__`.
        """
        check_pillars(features, cells, shape)
        return self.from_checked(features, cells, shape)

    @torch.inference_mode()
    def from_checked(self, features: Tensor, cells: Tensor, shape: tuple[int, int]) -> Tensor:
        """Computes BEV features as `from_pillars` does, for pillars that were checked before.

        Pillars of a PillarRunner and of `decode_pillars` are valid. Invalid ones may be written
        outside of the map's memory.
        """
        check_channels(features.shape[1], self.in_channels)
        self._check(shape)
        with computing(f'a map of {shape}', self._device):
            features = copy_to_device(features, self._device).to(torch.float32)
            cells = copy_to_device(cells, self._device)
            return self._paths.from_pillars(features, cells, shape)

    @torch.inference_mode()
    def warm_up(self, shape: tuple[int, int]) -> None:
        """Runs, for a map of (H,W), every path that frames may take, so that none is late.

        A large map is not computed densely on the CPU.

        Raises:
            TinyBevError: the map has no cells, or memory is short.
        """
        check_shape(shape)
        self._check_memory(shape)
        with computing(f'a map of {shape}', self._device):
            self._paths.warm_up(shape, self.in_channels)

    def needed_bytes(self, shape: tuple[int, int]) -> int:
        """Returns the memory of the device that a map of (H,W) takes, computed from the sizes."""
        return self._paths.needed_bytes(shape, self.in_channels, self.channels, self.stride)

    def release(self) -> None:
        """Frees buffers and CUDA graphs; the next frame allocates them anew."""
        self._paths.release()
        self._checked_shape = None

    @property
    def statistics(self) -> FrameStatistics:
        """Path and work of the last frame."""
        return self._paths.statistics

    @property
    def dense_reason(self) -> str:
        """Reason for which there is no sparse path; '' where there is one."""
        return self._paths.dense_reason

    @property
    def no_graph_reason(self) -> str:
        """Reason for which a path has no CUDA graph, or ''; known after `warm_up`."""
        return self._paths.no_graph_reason

    @property
    def unfused_reason(self) -> str:
        """Reason for which ReLU is launched apart on CUDA, or ''; known after `warm_up`."""
        return self._paths.unfused_reason

    @property
    def overflow_reason(self) -> str:
        """Text that names an overflow of float16 in an earlier frame, which a warning reported.

        '' where there was none, or the compute dtype is another. Features are then not valid.
        """
        return self._paths.overflow_reason

    def _check(self, shape: tuple[int, int]) -> None:
        self._refuse_train_mode()
        if not self._paths.is_current:
            self._paths.release()  # first, as memory may not suffice for both
            self._paths = self._build()
        self._check_memory(shape)
        self._paths.poll_overflow()

    def _check_memory(self, shape: tuple[int, int]) -> None:
        """Refuses a map that needs more memory than is free: the system would end the process."""
        if shape == self._checked_shape:
            return
        self._paths.release()  # a stream has one map size, and buffers of another are large
        expect_free(
            self.needed_bytes(shape), self._device, f'map of {shape[0]} x {shape[1]} cells'
        )
        self._checked_shape = shape

    def _refuse_train_mode(self) -> None:
        if self._network.training:
            raise TinyBevError('the backbone is in train mode; expected eval mode')

    def _build(self) -> BackbonePaths:
        self._checked_shape = None
        return BackbonePaths(
            self._network, self._device, self._dtype, self._sparsity, self._threads
        )


def check_pseudo_image(pseudo_image: Tensor, channels: int) -> None:
    """Refuses a tensor that is no pseudo-image of so many channels.

    Raises:
        TinyBevError: it has another shape than (B,C,H,W), or no float dtype.
    """
    if pseudo_image.ndim != 4 or not all(pseudo_image.shape):
        raise TinyBevError(
            f'pseudo-image has shape {tuple(pseudo_image.shape)}; expected (B, C, H, W)'
        )
    if not pseudo_image.is_floating_point():
        raise TinyBevError(f'pseudo-image is {pseudo_image.dtype}; expected a float dtype')
    check_channels(pseudo_image.shape[1], channels)


def check_channels(given: int, expected: int) -> None:
    """Raises TinyBevError where the channels of an input are not those of the backbone."""
    if given != expected:
        raise TinyBevError(f'channel size is {given}; expected {expected}, as the backbone has')
