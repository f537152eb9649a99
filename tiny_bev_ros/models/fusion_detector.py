# SPDX-License-Identifier: Apache-2.0
"""Pillars, backbone, camera encoder, fusion and heads as one network, for training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.bev_detector import BevDetector, features_of
from tiny_bev_ros.models.camera.encoder import CameraEncoder
from tiny_bev_ros.models.camera.geometry import Camera
from tiny_bev_ros.models.fusion.futr import FuTrFusion


class FusionDetector(nn.Module):
    """A detector whose heads stand on a map that has looked at cameras.

    Its parameters are called as those of the parts: ``pfn.*``, ``backbone.*``,
    ``camera_encoder.*``, ``fusion.*``, ``heads.*``.

    Args:
        detector: whose pillars, backbone and heads are taken.
        camera_encoder: of images.
        fusion: of its maps with their features.
    """

    def __init__(
        self, detector: BevDetector, camera_encoder: CameraEncoder, fusion: FuTrFusion
    ) -> None:
        super().__init__()
        self.pfn, self.backbone, self.heads = detector.pfn, detector.backbone, detector.heads
        self.camera_encoder, self.fusion = camera_encoder, fusion

    def forward(
        self,
        points: list[Tensor],
        grids: list[BevGrid],
        images: Tensor,
        cameras: Sequence[Sequence[Camera | None]],
    ) -> dict[str, Any]:
        """What each head says of each frame.

        Args:
            points: a cloud (N,4) of each frame, which may be empty.
            grids: of the clouds, of one size.
            images: (B,K,3,H,W) float 0 to 1, with H and W multiples of the encoder's stride.
            cameras: for each frame K cameras of such images; None for one that is missing.
        """
        bev = self.map_of(points, grids)
        stride = grids[0].shape[0] // bev.shape[2]
        fused = self.look(bev, grids[0].strided(stride), images, cameras)
        return {name: head(fused) for name, head in self.heads.items()}

    def map_of(self, points: list[Tensor], grids: list[BevGrid]) -> Tensor:
        """(B,C,h,w) of the clouds alone."""
        return features_of(self.pfn, self.backbone, points, grids)

    def look(
        self,
        bev: Tensor,
        grid: BevGrid,
        images: Tensor,
        cameras: Sequence[Sequence[Camera | None]],
    ) -> Tensor:
        """A map (B,C,h,w) that lies on a grid, with what the images tell of it."""
        features = self.camera_encoder(images)
        size = (features.shape[4], features.shape[3])
        seen = [[camera and camera.scaled(size) for camera in each] for each in cameras]
        return self.fusion(bev, grid, features, seen)
