# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Runs the pillar feature net: points to pillars, and pillars to a pseudo-image."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.memory import computing, expect_free, translate_oom
from tiny_bev_ros.inference.numba_support import numba_unavailable_reason
from tiny_bev_ros.inference.weight_fingerprint import fingerprint
from tiny_bev_ros.models import PillarFeatureNet
from tiny_bev_ros.models.device import copy_to_device
from tiny_bev_ros.models.pillars import pillarize, scatter_checked

# Bytes of a pseudo-image above which free memory is checked first.
_LARGE = 2**28


class PillarRunner:
    """Runs the pillar feature net on clouds, and scatters pillars to a dense pseudo-image.

    On the CPU it makes one pass over the points, where numba can be used. When the weights of the
    net change, it uses the new ones.

    Args:
        pfn: pillar feature net; is put into eval mode on ``device``.
        grid: grid of the pillars.
        device: device on which to compute.

    Attributes:
        points_inside: number of points of the last cloud that lie on the grid.
    """

    def __init__(self, pfn: PillarFeatureNet, grid: BevGrid, device: torch.device) -> None:
        self.pfn = pfn.to(device).eval()
        self.grid = grid
        self.device = device
        self.points_inside = 0
        self._fused: Any = None
        self._built_from: Any = None

    @torch.inference_mode()
    def pillars(self, points: np.ndarray) -> tuple[Tensor, Tensor]:
        """Encodes a cloud as pillars.

        Args:
            points: (N,4) or (N,5) float32 [x, y, z, intensity(, time)] in the frame of the grid.

        Returns:
            Features (P,C) float32 and cells (P,2) int64 [row, col] of the pillars that have
            points.

        Raises:
            TinyBevError: the points are not those of the network, or memory is short.
        """
        if not isinstance(points, np.ndarray) or points.dtype != np.float32:
            kind = getattr(points, 'dtype', type(points).__name__)
            raise TinyBevError(f'points are {kind}; expected a NumPy array of float32')
        if not points.flags.writeable or min(points.strides, default=0) < 0:
            # PyTorch accepts neither views of received bytes nor reversed ones.
            points = points.copy()
        with computing(f'{len(points)} points', self.device):
            # NumPy finds a value that is not finite many times as fast as PyTorch.
            fits = points.ndim == 2 and points.shape[1] == self.pfn.point_values
            if not (fits and np.isfinite(points).all()):
                self.pfn.check(torch.from_numpy(points))  # raises the error with the reason
            if self.device.type != 'cpu' or self.pfn.training or numba_unavailable_reason():
                on_device = copy_to_device(torch.from_numpy(points), self.device)
                grouped = pillarize(on_device, self.grid, self.pfn.max_points)
                self.points_inside = grouped.inside
                return self.pfn.features(grouped, self.grid), grouped.cells
            fused = self._fused_pfn()
            pillars: tuple[Tensor, Tensor] = fused(points)
            self.points_inside = fused.points_inside
            return pillars

    def warm_up(self) -> None:
        """Encodes a few points, so that the first cloud is not late."""
        points = np.zeros((8, self.pfn.point_values), np.float32)
        points[:, 0], points[:, 1] = self.grid.x_axis.origin, self.grid.y_axis.origin
        points[:, 2] = self.grid.z_range[0]
        self.pillars(points)

    def _fused_pfn(self) -> Any:
        built_from = fingerprint(self.pfn)
        if built_from != self._built_from:
            from tiny_bev_ros.inference.fused_pfn import FusedPfn  # imports numba

            self._fused, self._built_from = FusedPfn(self.pfn, self.grid), built_from
        return self._fused

    @torch.inference_mode()
    def scatter(self, pillars: tuple[Tensor, Tensor]) -> Tensor:
        """Scatters features and cells, as from `pillars`, to a pseudo-image (1,C,H,W)."""
        return scatter_pillars(pillars, self.grid.shape)


def scatter_pillars(pillars: tuple[Tensor, Tensor], shape: tuple[int, int]) -> Tensor:
    """Scatters the pillars of a PillarRunner to a pseudo-image (1,C,H,W).

    Raises:
        TinyBevError: memory is short.
    """
    features = pillars[0]
    needed = features.element_size() * features.shape[1] * shape[0] * shape[1]
    if needed > _LARGE:
        expect_free(needed, features.device, f'pseudo-image of {shape[0]} x {shape[1]} cells')
    with translate_oom('a pseudo-image'):
        return scatter_checked(*pillars, shape)
