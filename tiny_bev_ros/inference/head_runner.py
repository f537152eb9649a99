# SPDX-License-Identifier: Apache-2.0
"""Features to objects and drivable area, as nodes, scripts and tests call it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.dense import FoldedModule
from tiny_bev_ros.inference.memory import translate_oom
from tiny_bev_ros.inference.precision import dtype_for, full_float32
from tiny_bev_ros.models.heads.detection import Detections, decode


class HeadOutputs(NamedTuple):
    """What the heads see in one frame; None for a head that is not there.

    Attributes:
        detections: objects, on the CPU.
        drivable: (h,w) float32 probability of road surface, on the CPU; its grid is that of the
            features.
    """

    detections: Detections | None
    drivable: Tensor | None


class HeadRunner:
    """Any of the heads, on one map of features.

    Args:
        heads: by name, in eval mode.
        device: where to compute.
        precision: of the products: float32, bfloat16 or float16.

    Attributes:
        channels: that the features must have.
    """

    def __init__(
        self, heads: Mapping[str, nn.Module], device: torch.device, precision: str = 'float32'
    ) -> None:
        dtype = dtype_for(precision, device)
        self._heads = {name: FoldedModule(head, device, dtype) for name, head in heads.items()}
        self._device = device
        first = next(module for head in heads.values() for module in head.modules()
                     if isinstance(module, nn.Conv2d))  # fmt: skip
        self.channels = first.in_channels

    @torch.inference_mode()
    def __call__(
        self, features: Tensor, grid: BevGrid, min_scores: tuple[float, ...]
    ) -> HeadOutputs:
        """What is in the first frame of features (B,C,h,w) float32, on any device.

        Args:
            features: of a backbone.
            grid: of the features.
            min_scores: from which on an object counts, for each class.

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
        with translate_oom(f'features of {tuple(features.shape)}'), full_float32(self._device):
            features = features[:1].to(self._device, torch.float32)
            detections = drivable = None
            if 'detection' in self._heads:
                maps = self._heads['detection'](features)
                found = decode(maps, grid, min_scores)[0]
                detections = Detections(*(each.cpu() for each in found))
            if 'drivable' in self._heads:
                drivable = self._heads['drivable'](features)[0, 0].sigmoid().cpu()
        return HeadOutputs(detections, drivable)
