# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""GlobalAttention: BEV cells attend to all pixels of all cameras."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.camera.geometry import Camera
from tiny_bev_ros.models.layers import check_divisible_by_heads
from tiny_bev_ros.models.single_entry_cache import SingleEntryCache
from tiny_bev_ros.models.tokens import camera_tokens, position_encoding

# Depths in metres at which the ray of a pixel is sampled for its key.
_DEPTHS = (2.0, 5.0, 12.0, 30.0)
# Unit of these samples, in metres.
_SCALE = 50.0


class GlobalAttention(nn.Module):
    """Cross-attention between all cells and all pixels of camera features.

    Queries include the position of their cell (`position_encoding`), keys the ray of their pixel,
    as positions along it (Liu et al., "PETR", ECCV 2022). Work grows with cells times pixels.

    Args:
        channels: number of channels of queries and output; a multiple of ``heads`` and of 4.
        camera_channels: number of channels of the camera features.
        heads: number of attention heads.

    Raises:
        TinyBevError: ``channels`` is not a multiple of ``heads``.
    """

    def __init__(self, channels: int, camera_channels: int, heads: int) -> None:
        super().__init__()
        check_divisible_by_heads('channels', channels, heads)
        self.heads = heads
        self.queries = nn.Linear(channels, channels)
        self.keys = nn.Linear(camera_channels, channels, bias=False)
        self.rays = nn.Sequential(
            nn.Linear(3 * len(_DEPTHS), channels), nn.ReLU(), nn.Linear(channels, channels, False)
        )
        self.values = nn.Linear(camera_channels, channels)
        self.output = nn.Linear(channels, channels)
        self._position: SingleEntryCache[Tensor] = SingleEntryCache()
        self._rays: SingleEntryCache[Tensor] = SingleEntryCache()

    def cells(
        self, grid: BevGrid, cameras: Sequence[Camera | None], device: torch.device
    ) -> Tensor:
        """Returns (S,) int64 indices of the cells that attend: all cells, if there is a camera."""
        any_camera = any(camera is not None for camera in cameras)
        return torch.arange(grid.shape[0] * grid.shape[1] * any_camera, device=device)

    def forward(
        self,
        queries: Tensor,
        grid: BevGrid,
        features: Sequence[Tensor],
        cameras: Sequence[Camera | None],
    ) -> Tensor:
        """Computes attended values of one frame; arguments as of `ProjectedAttention`."""
        tokens = camera_tokens(features, cameras)
        present = [camera for camera in cameras if camera is not None]
        device, channels = queries.device, queries.shape[1]
        rays = self._rays.get(
            (device, *(camera.key() for camera in present)),
            lambda: torch.cat([_ray_samples(camera) for camera in present]).to(device),
        )
        position = self._position.get(
            (grid, device, channels), lambda: position_encoding(grid, channels)[0].to(device)
        )
        split_queries = self._split(self.queries(queries + position.to(queries.dtype)))
        keys = self._split(self.keys(tokens) + self.rays(rays.to(tokens.dtype)))
        values = self._split(self.values(tokens))
        attended = scaled_dot_product_attention(split_queries, keys, values)
        return self.output(attended[0].transpose(0, 1).flatten(1))

    def _split(self, tokens: Tensor) -> Tensor:
        """Splits tokens (N,C) into heads (1,heads,N,C/heads)."""
        return tokens.unflatten(1, (self.heads, -1)).transpose(0, 1)[None]


def _ray_samples(camera: Camera) -> Tensor:
    """Returns (pixels, 3*depths) float32 positions along the ray of each pixel, row by row."""
    cols, rows = camera.size
    row, col = torch.meshgrid(
        torch.arange(rows, dtype=torch.float64),
        torch.arange(cols, dtype=torch.float64),
        indexing='ij',
    )
    pixels = torch.stack([col, row], dim=2).view(-1, 2)
    samples = [camera.unproject(pixels, pixels.new_full((len(pixels),), d)) for d in _DEPTHS]
    return (torch.cat(samples, dim=1) / _SCALE).float()
