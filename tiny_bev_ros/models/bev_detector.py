# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""BevDetector: pillars, backbone and heads as one network, with cameras or without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.camera.encoder import CameraEncoder
from tiny_bev_ros.models.camera.geometry import Camera
from tiny_bev_ros.models.fusion.futr import FuTrFusion
from tiny_bev_ros.models.heads.head_registry import build_heads, map_heads
from tiny_bev_ros.models.pfn import PillarFeatureNet
from tiny_bev_ros.models.pillars import decorate, pillarize
from tiny_bev_ros.models.registry import build_backbone

# Initial scale of the weights of x, y, z, intensity, offsets to the mean and to the cell centre:
# one over the usual size of each value in metres, and more for heights, which reveal a kerb.
# Training frames have no intensity: its weights get no gradient and stay 0.
_INITIAL_SCALE = (0.04, 0.04, 3.0, 0.0, 8.0, 8.0, 8.0, 8.0, 8.0, 1.0)
# Initial ranges of bias and weight of the batch norm that follows: the ReLU of each channel begins
# to respond at another height.
_INITIAL_BIAS, _INITIAL_WEIGHT = (-1.5, 1.5), (1.0, 3.0)


class BevDetector(nn.Module):
    """All networks from points, and from images if there are cameras, to the maps of the heads.

    A second stage among the heads has no maps: it runs after the decoding of the others.

    Parameters are named by part: ``pfn.*``, ``backbone.*``, ``heads.*``, and with cameras
    ``camera_encoder.*`` and ``fusion.*``.

    Args:
        pfn: pillar feature net that takes all points (``max_points=None``).
        backbone: a backbone of the registry.
        heads: registered names of heads, each at most once.

    Raises:
        TinyBevError: the name of a head is not registered.
    """

    camera_encoder: CameraEncoder | None
    fusion: FuTrFusion | None

    def __init__(self, pfn: PillarFeatureNet, backbone: Any, heads: tuple[str, ...]) -> None:
        super().__init__()
        self.pfn = pfn
        self.backbone = backbone
        self.heads = build_heads(heads, backbone.feature_info[-1].channels)
        self.camera_encoder, self.fusion = None, None

    def add_cameras(self, camera_encoder: CameraEncoder, fusion: FuTrFusion) -> None:
        """Adds the networks by which BEV features attend to camera images."""
        self.camera_encoder, self.fusion = camera_encoder, fusion

    def forward(
        self,
        points: list[Tensor],
        grids: list[BevGrid],
        images: Tensor | None = None,
        cameras: Sequence[Sequence[Camera | None]] = (),
    ) -> dict[str, Any]:
        """Computes the maps of each head.

        Args:
            points: a cloud (N,4) for each frame, which may be empty.
            grids: grid of each cloud, all of one size.
            images: (B,K,3,H,W) float 0 to 1, H and W multiples of the encoder's stride; None
                without cameras.
            cameras: for each frame the K cameras of its images; None for a missing one.

        Raises:
            TinyBevError: there are images, but no networks for them; see `add_cameras`.
        """
        bev = self.encode_bev(points, grids)
        if images is not None:
            stride = grids[0].shape[0] // bev.shape[2]
            bev = self.fuse_cameras(bev, grids[0].strided(stride), images, cameras)
        return {name: head(bev) for name, head in map_heads(self.heads).items()}

    def encode_bev(self, points: list[Tensor], grids: list[BevGrid]) -> Tensor:
        """Computes BEV features (B,C,h,w) of the clouds alone; arguments as for `forward`."""
        rows, pillar, cell = [], [], []
        total, size = 0, grids[0].shape[0] * grids[0].shape[1]
        for frame, (cloud, grid) in enumerate(zip(points, grids, strict=True)):
            pillars = pillarize(cloud, grid)
            rows.append(decorate(pillars, grid, centre_axes=self.pfn.centre_axes))
            pillar.append(pillars.pillar + total)
            cell.append(pillars.cells[:, 0] * grid.shape[1] + pillars.cells[:, 1] + frame * size)
            total += len(pillars.cells)
        # Not in half precision: the height of a kerb is a hundredth of its distance.
        with torch.autocast(rows[0].device.type, enabled=False):
            features = self.pfn.encode(torch.cat(rows), torch.cat(pillar), total)
        canvas = features.new_zeros(len(points) * size, features.shape[1])
        canvas = canvas.index_copy(0, torch.cat(cell), features)
        canvas = canvas.view(len(points), *grids[0].shape, -1).permute(0, 3, 1, 2)
        return self.backbone(canvas)

    def fuse_cameras(
        self,
        bev: Tensor,
        grid: BevGrid,
        images: Tensor,
        cameras: Sequence[Sequence[Camera | None]],
    ) -> Tensor:
        """Fuses BEV features with the features of images; returns (B,C,h,w).

        Args:
            bev: (B,C,h,w) features.
            grid: grid of these features.
            images: (B,K,3,H,W), see `forward`.
            cameras: cameras of the images, see `forward`.

        Raises:
            TinyBevError: the detector has no networks for images.
        """
        if self.camera_encoder is None or self.fusion is None:
            raise TinyBevError('detector has no camera encoder and fusion; expected add_cameras')
        features = self.camera_encoder(images)
        size = (features.shape[4], features.shape[3])
        scaled = [[camera and camera.scaled(size) for camera in frame] for frame in cameras]
        return self.fusion(bev, grid, features, scaled)


def build_detector(
    backbone: str = 'fpn',
    *,
    pfn_channels: int = 32,
    mid_channels: int = 48,
    out_channels: int = 64,
    heads: tuple[str, ...] = ('detection', 'drivable'),
) -> BevDetector:
    """Builds the network of the shipped weights, without cameras, with random weights.

    Its pillar feature net takes ten channels and ignores the intensity.

    Args:
        backbone: registered name of the backbone.
        pfn_channels: number of channels of the pseudo-image.
        mid_channels: number of channels inside the backbone.
        out_channels: number of channels of the BEV features.
        heads: registered names of the heads.

    Raises:
        TinyBevError: a name is not registered, or a number is not allowed.
    """
    pfn = PillarFeatureNet(in_channels=10, out_channels=pfn_channels)
    with torch.no_grad():
        # Otherwise x and y, tens of metres, would outweigh the height of a kerb.
        pfn.linear.weight *= torch.tensor(_INITIAL_SCALE)
        pfn.norm.bias.uniform_(*_INITIAL_BIAS)
        pfn.norm.weight.uniform_(*_INITIAL_WEIGHT)
    network = build_backbone(
        backbone,
        in_channels=pfn_channels,
        mid_channels=mid_channels,
        out_channels=out_channels,
    )
    return BevDetector(pfn, network, heads)
