# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""FuTrFusion: BEV features that attend to camera features."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.camera.geometry import Camera
from tiny_bev_ros.models.fusion.global_attention import GlobalAttention
from tiny_bev_ros.models.fusion.projected_attention import ProjectedAttention
from tiny_bev_ros.models.layers import check_positive_int, mlp
from tiny_bev_ros.models.tokens import to_tokens

MODES = ('projected', 'global')


class FuTrFusion(nn.Module):
    """Cross-attention with BEV tokens as queries, camera features as keys and values.

    The result is added to the BEV features of the cells that attend. Without cameras the output
    equals the input, so that every head works with and without cameras.

    Args:
        channels: number of channels of the BEV features.
        camera_channels: number of channels of the camera features.
        mode: 'projected', each cell attends to the pixels of reference points above it; or
            'global', each cell attends to all pixels.
        heads: number of attention heads.
        heights: heights of the reference points above the frame's origin, in metres; for
            'projected' alone.

    Raises:
        TinyBevError: a value is not allowed.
    """

    def __init__(
        self,
        channels: int = 128,
        camera_channels: int = 64,
        mode: str = 'projected',
        heads: int = 4,
        heights: tuple[float, ...] = (-1.5, -0.5, 0.5, 1.5),
    ) -> None:
        super().__init__()
        check_positive_int(channels=channels, camera_channels=camera_channels, heads=heads)
        if mode not in MODES:
            raise TinyBevError(f'mode is {mode!r}; expected one of {", ".join(MODES)}')
        self.channels, self.camera_channels, self.mode = channels, camera_channels, mode
        self.norm = nn.LayerNorm(channels)
        self.attention: ProjectedAttention | GlobalAttention
        if mode == 'projected':
            self.attention = ProjectedAttention(channels, camera_channels, heads, heights)
        else:
            self.attention = GlobalAttention(channels, camera_channels, heads)
        self.mlp = mlp(channels)

    def zero_init_output(self) -> None:
        """Sets the last layers to zero, so that the output equals the BEV input.

        For use without trained weights, as random ones would corrupt the input of the heads.
        Training that starts from these weights is much slower.
        """
        for layer in (self.attention.output, self.mlp[-1]):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def forward(
        self,
        bev: Tensor,
        grid: BevGrid,
        features: Tensor | Sequence[Tensor],
        cameras: Sequence[Sequence[Camera | None]],
    ) -> Tensor:
        """Fuses BEV features with camera features.

        Args:
            bev: (B,C,h,w) BEV features.
            grid: grid of the BEV features, as `BevGrid.strided` returns it.
            features: (B,K,c,rows,cols) of K cameras, K may be 0; or K maps (B,c,rows,cols), each
                of its own size.
            cameras: for each frame K cameras of images of cols x rows (`Camera.scaled`), None for
                a missing one, whose features are ignored.

        Returns:
            (B,C,h,w), equal to ``bev`` in cells that are visible to no camera.

        Raises:
            TinyBevError: shapes do not fit each other.
        """
        maps = self._checked(bev, grid, features, cameras)
        tokens, fused = to_tokens(bev), bev.flatten(2).clone()
        for frame, frame_cameras in enumerate(cameras):
            cells = self.attention.cells(grid, frame_cameras, bev.device)
            if not len(cells):
                continue
            queries = tokens[frame].index_select(0, cells)
            frame_maps = [camera_map[frame] for camera_map in maps]
            queries = queries + self.attention(self.norm(queries), grid, frame_maps, frame_cameras)
            queries = queries + self.mlp(queries)
            fused[frame].index_copy_(1, cells, queries.T.to(fused.dtype))
        return fused.unflatten(2, grid.shape)

    def _checked(
        self,
        bev: Tensor,
        grid: BevGrid,
        features: Tensor | Sequence[Tensor],
        cameras: Sequence[Sequence[Camera | None]],
    ) -> Sequence[Tensor]:
        """Checks all shapes; returns the features of each camera."""
        expected = (self.channels, *grid.shape)
        if bev.ndim != 4 or tuple(bev.shape[1:]) != expected:
            raise TinyBevError(f'bev has shape {tuple(bev.shape)}; expected (B, *{expected})')
        if isinstance(features, Tensor):
            if features.ndim != 5:
                raise TinyBevError(
                    f'features have shape {tuple(features.shape)}; expected (B, cameras, '
                    f'{self.camera_channels}, rows, cols)'
                )
            features = features.unbind(1)
        for camera_map in features:
            if camera_map.ndim != 4 or tuple(camera_map.shape[:2]) != (
                len(bev),
                self.camera_channels,
            ):
                raise TinyBevError(
                    f'features of a camera have shape {tuple(camera_map.shape)}; expected '
                    f'({len(bev)}, {self.camera_channels}, rows, cols)'
                )
        counts = [len(frame_cameras) for frame_cameras in cameras]
        if counts != [len(features)] * len(bev):
            raise TinyBevError(
                f'numbers of cameras are {counts}; expected {len(features)}, as there are '
                f'features, for each of {len(bev)} frames'
            )
        for frame_cameras in cameras:
            for camera, camera_map in zip(frame_cameras, features, strict=True):
                size = (camera_map.shape[3], camera_map.shape[2])
                if camera is not None and camera.size != size:
                    raise TinyBevError(
                        f'camera image is {camera.size[0]} x {camera.size[1]} pixels; expected '
                        f'{size[0]} x {size[1]}, the size of its features'
                    )
        return features
