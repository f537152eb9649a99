# SPDX-License-Identifier: Apache-2.0
"""BEV cells that attend to everything that all cameras see."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.camera.geometry import Camera
from tiny_bev_ros.models.checks import check_shared_evenly
from tiny_bev_ros.models.latest import Latest
from tiny_bev_ros.models.tokens import camera_tokens, position_encoding

# How far along its ray a pixel is told by, in metres.
_DEPTHS = (2.0, 5.0, 12.0, 30.0)
# In which such places are told, in metres.
_SCALE = 50.0


class GlobalAttention(nn.Module):
    """Cross-attention between all cells and all pixels of camera features.

    Cells know where they lie (`position_encoding`); a pixel's key knows its ray, as places along
    it (Liu et al., "PETR", ECCV 2022). Work grows with cells times pixels.

    Args:
        channels: of queries and output; a multiple of ``heads`` and of 4.
        camera_channels: of the features.
        heads: of the attention.

    Raises:
        TinyBevError: ``channels`` is no multiple of ``heads``.
    """

    def __init__(self, channels: int, camera_channels: int, heads: int) -> None:
        super().__init__()
        check_shared_evenly('channels', channels, heads)
        self.heads = heads
        self.queries = nn.Linear(channels, channels)
        self.keys = nn.Linear(camera_channels, channels, bias=False)
        self.rays = nn.Sequential(
            nn.Linear(3 * len(_DEPTHS), channels), nn.ReLU(), nn.Linear(channels, channels, False)
        )
        self.values = nn.Linear(camera_channels, channels)
        self.output = nn.Linear(channels, channels)
        self._place: Latest[Tensor] = Latest()
        self._rays: Latest[Tensor] = Latest()

    def cells(
        self, grid: BevGrid, cameras: Sequence[Camera | None], device: torch.device
    ) -> Tensor:
        """(S,) int64 indices of the cells that look: all, if there is a camera."""
        there = any(camera is not None for camera in cameras)
        return torch.arange(grid.shape[0] * grid.shape[1] * there, device=device)

    def forward(
        self,
        queries: Tensor,
        grid: BevGrid,
        features: Sequence[Tensor],
        cameras: Sequence[Camera | None],
    ) -> Tensor:
        """What the cells of one frame find; arguments and result of `ProjectedAttention`."""
        tokens = camera_tokens(features, cameras)
        there = [camera for camera in cameras if camera is not None]
        device, channels = queries.device, queries.shape[1]
        rays = self._rays.get(
            (device, *(camera.key() for camera in there)),
            lambda: torch.cat([_along_rays(camera) for camera in there]).to(device),
        )
        place = self._place.get(
            (grid, device, channels), lambda: position_encoding(grid, channels)[0].to(device)
        )
        asked = self._split(self.queries(queries + place.to(queries.dtype)))
        keys = self._split(self.keys(tokens) + self.rays(rays.to(tokens.dtype)))
        found = scaled_dot_product_attention(asked, keys, self._split(self.values(tokens)))
        return self.output(found[0].transpose(0, 1).flatten(1))

    def _split(self, tokens: Tensor) -> Tensor:
        """(N,C) to (1,heads,N,C/heads)."""
        return tokens.unflatten(1, (self.heads, -1)).transpose(0, 1)[None]


def _along_rays(camera: Camera) -> Tensor:
    """(pixels, 3*depths) places that each pixel may show, row by row."""
    cols, rows = camera.size
    row, col = torch.meshgrid(
        torch.arange(rows, dtype=torch.float64),
        torch.arange(cols, dtype=torch.float64),
        indexing='ij',
    )
    pixels = torch.stack([col, row], dim=2).view(-1, 2)
    places = [camera.unproject(pixels, pixels.new_full((len(pixels),), d)) for d in _DEPTHS]
    return (torch.cat(places, dim=1) / _SCALE).float()
