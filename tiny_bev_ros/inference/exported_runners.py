# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Runs exported networks in place of a backbone, or of backbone and heads."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.backbone_memory import BackboneMemory
from tiny_bev_ros.inference.backbone_paths import FrameStatistics
from tiny_bev_ros.inference.backbone_runner import check_channels, check_pseudo_image
from tiny_bev_ros.inference.exported_runtimes import ExportedNetwork
from tiny_bev_ros.inference.fast_nms import compile_nms, fast_nms
from tiny_bev_ros.inference.head_runner import HeadOutputs
from tiny_bev_ros.inference.memory import computing, expect_free
from tiny_bev_ros.models.device import CPU
from tiny_bev_ros.models.heads.detection import CLASSES, DetectionMaps
from tiny_bev_ros.models.heads.detection_head import DetectionHead, select_peaks
from tiny_bev_ros.models.heads.head_registry import DecodeOptions
from tiny_bev_ros.models.heads.score_calibration import ScoreCalibration
from tiny_bev_ros.models.pillars import check_shape

# Output of an exported backbone, and outputs of exported heads with their channels.
FEATURES = 'bev_features'
MAP_CHANNELS = {'scores': len(CLASSES), 'boxes': 9, 'drivable': 1}
# Outputs that each head needs.
HEAD_MAPS = {'detection': ('scores', 'boxes'), 'drivable': ('drivable',)}


class ExportedBackbone:
    """Exported network on the CPU, with the calls of `BackboneRunner`.

    Args:
        network: network with one input, the pseudo-image.
        sizes: sizes of the backbone of which it was made.

    Attributes:
        in_channels: number of input channels.
        channels: number of channels of the BEV features.
        stride: side of an output cell, in input cells.
        has_heads: True where the outputs are maps of heads.
        statistics: path and work of the last frame: the runtime, and every cell.
    """

    def __init__(self, network: ExportedNetwork, sizes: BackboneMemory) -> None:
        self._network, self._sizes = network, sizes
        self.in_channels, self.channels = sizes.in_channels, sizes.channels
        self.stride = sizes.stride
        self.has_heads = network.output_names != [FEATURES]
        self.statistics = FrameStatistics(network.runtime, 1.0, 1.0, compute_dtype(network))
        self._checked_shape: tuple[int, int] | None = None
        # Pseudo-image of the last frame, (C,H,W), and its cells in the order of memory.
        self._image, self._filled = torch.zeros(0), torch.zeros(0, dtype=torch.long)

    @torch.inference_mode()
    def __call__(self, pseudo_image: Tensor) -> Tensor:
        """Computes the outputs of pseudo-images (B,C,H,W) on the CPU, of any float dtype.

        Returns:
            (B,C_out,h,w) float32: BEV features, or the maps of exported heads, one after another.

        Raises:
            TinyBevError: the pseudo-image has another shape, or no float dtype; the channels are
                not those of the backbone, or memory is short.
        """
        check_pseudo_image(pseudo_image, self.in_channels)
        self._check_memory((pseudo_image.shape[2], pseudo_image.shape[3]))
        with computing(f'a pseudo-image of {tuple(pseudo_image.shape)}', CPU):
            return self._run(pseudo_image.to(torch.float32).contiguous())

    @torch.inference_mode()
    def from_checked(self, features: Tensor, cells: Tensor, shape: tuple[int, int]) -> Tensor:
        """Computes the outputs of pillars that were checked before, as of `__call__`.

        Args:
            features: (P,C) pillar features on the CPU, of any float dtype.
            cells: (P,2) int64 [row, col] of each pillar.
            shape: (H,W) of the pseudo-image.
        """
        check_channels(features.shape[1], self.in_channels)
        self._check_memory(shape)
        with computing(f'a map of {shape}', CPU):
            return self._run(self._scatter(features.to(torch.float32), cells, shape))

    def warm_up(self, shape: tuple[int, int]) -> None:
        """Runs a map of (H,W), as the runtimes prepare memory and kernels for its size.

        Raises:
            TinyBevError: the map has no cells, or memory is short.
        """
        check_shape(shape)
        nothing, cells = torch.zeros(0, self.in_channels), torch.zeros(0, 2, dtype=torch.long)
        self.from_checked(nothing, cells, shape)

    def needed_bytes(self, shape: tuple[int, int]) -> int:
        """Returns the memory of a map of (H,W), as estimated for PyTorch's dense path."""
        return self._sizes.bytes(shape, torch.float32, CPU, 'never')

    def release(self) -> None:
        """Frees the pseudo-image; the memory of the runtime is freed with the runner."""
        self._image, self._filled = torch.zeros(0), torch.zeros(0, dtype=torch.long)

    def _scatter(self, features: Tensor, cells: Tensor, shape: tuple[int, int]) -> Tensor:
        """Writes pillars to the kept pseudo-image; clearing its last cells alone is faster."""
        if self._image.shape != (self.in_channels, *shape):
            self._image = torch.zeros(self.in_channels, *shape)
        else:
            self._image.view(self.in_channels, -1)[:, self._filled] = 0
        self._filled = cells[:, 0] * shape[1] + cells[:, 1]
        self._image.view(self.in_channels, -1)[:, self._filled] = features.t()
        return self._image[None]

    def _run(self, pseudo_image: Tensor) -> Tensor:
        # A copy also of a single output, which the next run may overwrite.
        return torch.cat(self._network.outputs(pseudo_image), dim=1)

    def _check_memory(self, shape: tuple[int, int]) -> None:
        if shape != self._checked_shape:
            subject = f'map of {shape[0]} x {shape[1]} cells'
            expect_free(self.needed_bytes(shape), CPU, subject)
            self._checked_shape = shape


class ExportedHeads:
    """Decodes the maps of exported heads, with the calls of `HeadRunner`.

    Args:
        outputs: names of the maps, keys of MAP_CHANNELS, in their order in the network.
        heads: names of the heads, keys of HEAD_MAPS, whose maps are decoded.

    Attributes:
        channels: number of channels of all maps.
    """

    def __init__(self, outputs: Collection[str], heads: Collection[str]) -> None:
        self._widths = {name: MAP_CHANNELS[name] for name in outputs}
        self._heads = tuple(heads)
        self.channels = sum(self._widths.values())

    @torch.inference_mode()
    def __call__(
        self, features: Tensor, grid: BevGrid, min_scores: tuple[float, ...]
    ) -> HeadOutputs:
        """Returns the outputs of the heads for the first frame of the maps.

        Args:
            features: (B,C,h,w) outputs of an ExportedBackbone.
            grid: grid of the maps.
            min_scores: lowest score of a reported object, for each class.

        Raises:
            TinyBevError: there is not one score for each class.
        """
        parts = features[:1].split(list(self._widths.values()), dim=1)
        maps = dict(zip(self._widths, parts, strict=True))
        outputs = HeadOutputs()
        if 'detection' in self._heads:
            options = DecodeOptions(min_scores, fast_nms)
            selected = _select(maps['scores'], maps['boxes'])
            outputs['detection'] = DetectionHead.finish(selected, grid, options)
        if 'drivable' in self._heads:
            outputs['drivable'] = maps['drivable'][0, 0]
        return outputs

    def warm_up(self) -> None:
        """Prepares everything that would delay the first frame."""
        compile_nms()

    def release(self) -> None:
        """Does nothing: there are no buffers."""


def compute_dtype(network: ExportedNetwork) -> str:
    """Returns the dtype in which a network multiplies: float32, or int8 where it is quantised."""
    return 'int8' if network.metadata.get('number_format') == 'int8' else 'float32'


def _select(scores: Tensor, boxes: Tensor) -> Tensor:
    """Returns the best peaks (K,P,11) of maps (1,K,h,w) and (1,9,h,w), as `select_peaks`."""
    offset, z, size, axis, sign = boxes.split([2, 1, 3, 2, 1], dim=1)
    maps = DetectionMaps(scores.logit(), offset, z, size.log(), axis, sign)
    # Exported scores are calibrated: the identity on their logits returns them.
    (selected,) = select_peaks(maps, ScoreCalibration())
    return selected
