# SPDX-License-Identifier: Apache-2.0
"""FuTrFusion: a BEV map that has looked at the cameras."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.camera.geometry import Camera
from tiny_bev_ros.models.checks import check_positive_int
from tiny_bev_ros.models.fusion.global_attention import GlobalAttention
from tiny_bev_ros.models.fusion.projected_attention import ProjectedAttention
from tiny_bev_ros.models.layers import perceptron
from tiny_bev_ros.models.tokens import to_tokens

MODES = ('projected', 'global')


class FuTrFusion(nn.Module):
    """BEV tokens as queries, camera features as keys and values.

    What is found is added to the map, where anything is seen: without cameras the output is the
    map that was given, and every head works on it unchanged.

    Args:
        channels: of the map.
        camera_channels: of the camera features.
        mode: 'projected', each cell looks where places above it are seen; or 'global', each
            cell attends to all pixels.
        heads: of the attention.
        heights: of those places from the frame's origin, in metres; 'projected' alone.

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
        check_positive_int('channels', channels)
        check_positive_int('camera_channels', camera_channels)
        check_positive_int('heads', heads)
        if mode not in MODES:
            raise TinyBevError(f'mode is {mode!r}; expected one of {", ".join(MODES)}')
        self.channels, self.camera_channels, self.mode = channels, camera_channels, mode
        self.before = nn.LayerNorm(channels)
        self.attention: ProjectedAttention | GlobalAttention
        if mode == 'projected':
            self.attention = ProjectedAttention(channels, camera_channels, heads, heights)
        else:
            self.attention = GlobalAttention(channels, camera_channels, heads)
        self.perceptron = perceptron(channels)

    def silence(self) -> None:
        """Makes the output the map that was given, with cameras too, by zeros in the last layers.

        For use without trained weights: random ones would spoil what heads see. Not for training,
        which is much slower from there.
        """
        for layer in (self.attention.output, self.perceptron[-1]):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def forward(
        self,
        bev: Tensor,
        grid: BevGrid,
        features: Tensor | Sequence[Tensor],
        cameras: Sequence[Sequence[Camera | None]],
    ) -> Tensor:
        """The fused map.

        Args:
            bev: (B,C,h,w).
            grid: of the map, as `BevGrid.strided` gives it.
            features: (B,K,c,rows,cols) of K cameras, K may be 0; or K maps (B,c,rows,cols), each
                of a size of its own.
            cameras: for each frame K cameras as of images of cols x rows (`Camera.scaled`), None
                for one that is missing: its features are not looked at.

        Returns:
            (B,C,h,w), equal to ``bev`` where no camera looks.

        Raises:
            TinyBevError: shapes do not fit each other.
        """
        maps = self._checked(bev, grid, features, cameras)
        tokens, fused = to_tokens(bev), bev.flatten(2).clone()
        for frame, seen_by in enumerate(cameras):
            cells = self.attention.cells(grid, seen_by, bev.device)
            if not len(cells):
                continue
            looking = tokens[frame].index_select(0, cells)
            of_frame = [each[frame] for each in maps]
            looking = looking + self.attention(self.before(looking), grid, of_frame, seen_by)
            looking = looking + self.perceptron(looking)
            fused[frame].index_copy_(1, cells, looking.T.to(fused.dtype))
        return fused.unflatten(2, grid.shape)

    def _checked(
        self,
        bev: Tensor,
        grid: BevGrid,
        features: Tensor | Sequence[Tensor],
        cameras: Sequence[Sequence[Camera | None]],
    ) -> Sequence[Tensor]:
        """The features of each camera, if they fit the rest."""
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
        for each in features:
            if each.ndim != 4 or tuple(each.shape[:2]) != (len(bev), self.camera_channels):
                raise TinyBevError(
                    f'features of a camera have shape {tuple(each.shape)}; expected '
                    f'({len(bev)}, {self.camera_channels}, rows, cols)'
                )
        counts = [len(each) for each in cameras]
        if counts != [len(features)] * len(bev):
            raise TinyBevError(
                f'cameras are {counts} beside features of {len(features)}; expected as many for '
                f'each of {len(bev)} frames'
            )
        for seen_by in cameras:
            for camera, each in zip(seen_by, features, strict=True):
                size = (each.shape[3], each.shape[2])
                if camera is not None and camera.size != size:
                    raise TinyBevError(
                        f'a camera is of {camera.size[0]} x {camera.size[1]} pixels; expected '
                        f'{size[0]} x {size[1]}, the size of its features'
                    )
        return features
