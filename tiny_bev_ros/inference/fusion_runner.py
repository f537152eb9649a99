# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Runs the fusion: BEV features and camera features to fused BEV features."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.fusion_memory import (
    attention_is_fused,
    block_bytes,
    cells_at_once,
    global_bytes,
    projected_bytes,
)
from tiny_bev_ros.inference.memory import NotEnoughMemoryError, computing, free_bytes
from tiny_bev_ros.inference.precision import dtype_for
from tiny_bev_ros.models.camera.geometry import Camera
from tiny_bev_ros.models.device import copy_to_device
from tiny_bev_ros.models.fusion.futr import FuTrFusion
from tiny_bev_ros.models.fusion.projected_attention import CPU_CELLS, ProjectedAttention

View = tuple[Tensor, Camera]


class FusionRunner:
    """Fuses BEV features with the features of cameras, any of which may be missing.

    Args:
        fusion: fusion network, which is copied.
        device: device on which to compute.
        precision: compute dtype, see `dtype_for`.
        budget_bytes: memory that a frame may take; None for all that is free at the time.

    Attributes:
        channels: number of channels of the BEV features.
        camera_channels: number of channels of the camera features.
    """

    def __init__(
        self,
        fusion: FuTrFusion,
        device: torch.device,
        precision: str = 'float32',
        budget_bytes: int | None = None,
    ) -> None:
        dtype = dtype_for(precision, device)
        self._fusion = copy.deepcopy(fusion).eval().to(device)
        self._device, self._dtype, self._budget = device, dtype, budget_bytes
        self.channels, self.camera_channels = fusion.channels, fusion.camera_channels
        heads = fusion.attention.heads
        self._fused = attention_is_fused(device, dtype, fusion.channels // heads)
        attention = self._fusion.attention
        if device.type == 'cuda' and isinstance(attention, ProjectedAttention):
            free = free_bytes(device) if budget_bytes is None else budget_bytes
            # Each position lies in the images of two cameras at most, as a rule.
            per_cell = self._block_bytes(1, 2 * len(attention.heights))
            attention.cells_at_once = cells_at_once(free, per_cell)

    def cameras_without_cells(self, grid: BevGrid, cameras: Sequence[Camera]) -> tuple[int, ...]:
        """Returns the indices of cameras to which no cell of the grid is visible."""
        attention = self._fusion.attention
        if not (cameras and isinstance(attention, ProjectedAttention)):
            return ()  # without projection every cell attends to all cameras
        device = next(
            self._fusion.parameters()
        ).device  # with its index, like the device of BEV features
        return attention.sampling_plan(grid, cameras, device).cameras_without_cells

    @torch.inference_mode()
    def __call__(self, bev: Tensor, grid: BevGrid, views: Sequence[View | None]) -> Tensor:
        """Computes fused BEV features.

        Args:
            bev: (1,C,h,w) BEV features of a float dtype, on any device.
            grid: grid of the BEV features.
            views: for each camera its features (1,c,rows,cols) of a float dtype, on any device,
                and the camera scaled to an image of cols x rows pixels; None for one that is
                missing.

        Returns:
            (1,C,h,w) float32 on the device; without any view the BEV features as they are.

        Raises:
            TinyBevError: shapes do not fit each other.
            NotEnoughMemoryError: the fusion would need more memory than is free.
        """
        present = [view for view in views if view is not None]
        if not present:
            return copy_to_device(bev, self._device)
        cameras = [camera for _, camera in present]
        self._check_memory(grid, cameras)
        subject = f'the fusion of BEV features of {tuple(bev.shape)}'
        with computing(subject, self._device):
            # float32, as sums of the fusion are not rounded to the compute dtype.
            features = [copy_to_device(each, self._device).float() for each, _ in present]
            bev = copy_to_device(bev, self._device).float().contiguous()
            lower = self._dtype != torch.float32
            with torch.autocast(self._device.type, self._dtype, lower):
                fused = self._fusion(bev, grid, features, [cameras])
            return fused.float()

    def needed_bytes(self, grid: BevGrid, cameras: Sequence[Camera]) -> int:
        """Returns the bytes at the peak, computed from the sizes."""
        cells = grid.shape[0] * grid.shape[1]
        attention = self._fusion.attention
        if isinstance(attention, ProjectedAttention):
            plan = attention.sampling_plan(grid, cameras, torch.device('cpu'))
            visible, entries = len(plan.cell), len(plan.height)
            blocks = plan.blocks(attention.cells_at_once or CPU_CELLS)
            block = max((self._block_bytes(*each.size) for each in blocks), default=0)
            return projected_bytes(cells, visible, entries, self.channels, block)
        pixels = sum(camera.size[0] * camera.size[1] for camera in cameras)
        return global_bytes(cells, pixels, self.channels, attention.heads, fused=self._fused)

    def _block_bytes(self, cells: int, entries: int) -> int:
        heads = self._fusion.attention.heads
        return block_bytes(cells, entries, self.channels, self.camera_channels, heads)

    def _check_memory(self, grid: BevGrid, cameras: Sequence[Camera]) -> None:
        if self._fusion.mode == 'projected':
            return  # needs about as much as the BEV features, and raises where that is short
        needed = self.needed_bytes(grid, cameras)
        free = free_bytes(self._device) if self._budget is None else self._budget
        if needed > free:
            rows, cols = grid.shape
            raise NotEnoughMemoryError(
                f'fusion.mode is global, which takes {needed / 2**20:.0f} MiB for {rows} x {cols} '
                f'cells and {len(cameras)} cameras; expected at most {free / 2**20:.0f}: take '
                'projected, larger cells, or a smaller camera.resize_width'
            )
