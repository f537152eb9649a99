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

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.folded_module import FoldedModule
from tiny_bev_ros.inference.memory import computing
from tiny_bev_ros.inference.precision import dtype_for
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.models.heads.head_registry import DecodeOptions, Head, map_tensors


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

    Args:
        heads: registered heads by name, in eval mode.
        device: device to compute on.
        precision: compute dtype: float32, bfloat16 or float16.

    Attributes:
        channels: number of channels of the features.
    """

    def __init__(
        self, heads: Mapping[str, nn.Module], device: torch.device, precision: str = 'float32'
    ) -> None:
        dtype = dtype_for(precision, device)
        self._heads = {name: FoldedModule(head, device, dtype) for name, head in heads.items()}
        self._decode = {name: cast(Head, head).decode for name, head in heads.items()}
        self._device = device
        self.channels = cast(Head, next(iter(heads.values()))).in_channels

    @torch.inference_mode()
    def __call__(
        self, features: Tensor, grid: BevGrid, min_scores: tuple[float, ...]
    ) -> HeadOutputs:
        """Returns the outputs for the first frame of the features.

        Args:
            features: (B,C,h,w) float32, on any device.
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
        options = DecodeOptions(min_scores)
        with computing(f'features of {tuple(features.shape)}', self._device):
            features = features[:1].to(self._device, torch.float32)
            outputs = HeadOutputs()
            for name, head in self._heads.items():
                output = self._decode[name](head(features), grid, options)[0]
                on_cpu = self._device.type == 'cpu'
                outputs[name] = output if on_cpu else map_tensors(Tensor.cpu, output)
        return outputs
