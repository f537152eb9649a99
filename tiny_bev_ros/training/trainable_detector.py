# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Networks to be trained, with or without cameras."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models import CameraEncoder, FuTrFusion, seeded
from tiny_bev_ros.models.bev_detector import BevDetector, build_detector
from tiny_bev_ros.models.camera.geometry import Camera
from tiny_bev_ros.models.heads.head_registry import map_heads
from tiny_bev_ros.training.training_config import ModelConfig


def lidar_arguments(config: ModelConfig) -> dict[str, Any]:
    """Returns the arguments of `build_detector`: those of the network without cameras."""
    arguments = dataclasses.asdict(config)
    del arguments['camera']
    return arguments


def build_network(
    config: ModelConfig, seed: int, fused_channels: int | None = None
) -> BevDetector:
    """Builds the network of a configuration with freshly initialised weights.

    Args:
        config: the network; one with a camera section gets camera encoder and fusion.
        seed: seed of the weights.
        fused_channels: channels of the map with which images are fused; by default those of the
            backbone's output.
    """
    with seeded(seed):
        detector = build_detector(**lidar_arguments(config))
        if (camera := config.camera) is None:
            return detector
        encoder = CameraEncoder(camera.encoder, camera.channels, camera.stride)
        fusion = FuTrFusion(
            fused_channels or detector.backbone.feature_info[-1].channels,
            camera.channels,
            camera.fusion,
            camera.num_heads,
            camera.heights,
        )
        detector.add_cameras(encoder, fusion)
        return detector


class TrainableDetector(nn.Module):
    """A detector as the trainer runs it: cameras are optional.

    With cameras the heads predict twice for each frame: from the BEV features of the LiDAR
    alone, and from the fused ones. So the LiDAR alone suffices where a camera fails.

    Args:
        network: the detector that is trained.
    """

    def __init__(self, network: BevDetector) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        points: list[Tensor],
        grids: list[BevGrid],
        images: Tensor | None = None,
        cameras: Sequence[Sequence[Camera | None]] = (),
    ) -> tuple[Tensor, dict[str, Any]]:
        """Returns the BEV features of `features`, and each head's output for them by name."""
        features = self.features(points, grids, images, cameras)
        return features, {
            name: head(features) for name, head in map_heads(self.network.heads).items()
        }

    def features(
        self,
        points: list[Tensor],
        grids: list[BevGrid],
        images: Tensor | None,
        cameras: Sequence[Sequence[Camera | None]],
    ) -> Tensor:
        """Computes the BEV features from which the heads predict.

        Args:
            points: B clouds (N,4).
            grids: grids of the pseudo-images, of one size, and with images all the same.
            images: (B,K,3,H,W) float32, 0 to 1; None without cameras.
            cameras: for each frame K cameras, None for one that is missing.

        Returns:
            (B,C,h,w); with images (2B,C,h,w): features of the LiDAR alone, then the fused ones.
        """
        network = self.network
        bev = network.encode_bev(points, grids)
        if images is None or network.fusion is None:
            return bev
        grid = grids[0].strided(grids[0].shape[0] // bev.shape[2])
        return torch.cat([bev, network.fuse_cameras(bev, grid, images, cameras)])
