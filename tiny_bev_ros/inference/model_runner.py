# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""ModelRunner: runs all networks, from points to pillars, BEV features and outputs of heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.camera_runner import CameraRunner
from tiny_bev_ros.inference.device_timer import StageTimer
from tiny_bev_ros.inference.exported_runners import ExportedBackbone, ExportedHeads
from tiny_bev_ros.inference.fusion_runner import FusionRunner, View
from tiny_bev_ros.inference.head_runner import HeadOutputs, HeadRunner
from tiny_bev_ros.inference.pillar_runner import PillarRunner
from tiny_bev_ros.inference.refinement_runner import RefinementRunner
from tiny_bev_ros.models.camera.geometry import Camera


class EncodedPillars(NamedTuple):
    """Pillars of one cloud that hold a point.

    Attributes:
        features: (P,C) float32 pillar features.
        cells: (P,2) int64 [row, col] on the grid.
        inside: number of points of the cloud that lie on the grid.
    """

    features: Tensor
    cells: Tensor
    inside: int


class FrameOutputs(NamedTuple):
    """Results of one pass through all networks.

    Attributes:
        pillars: pillars of the cloud.
        features: (1,C,h,w) BEV features on the device, as the backbone returns them, or fused
            where there were images; overwritten by the second next pass. None where an exported
            network computes the heads as well.
        heads: objects and drivable area.
        seconds: time of each stage, by the device's clock: pillars, backbone, with images
            encoder and fusion, heads where there are any, and refinement where the weights
            have a second stage.
    """

    pillars: EncodedPillars
    features: Tensor | None
    heads: HeadOutputs
    seconds: dict[str, float]


@dataclass(frozen=True)
class ModelRunner:
    """Runners of the networks on one device, any of which may be missing.

    Each stage is a method; a call runs all stages, but needs no heads. The stage of a missing
    network must not be called. The attributes have the names of those of LoadedModels.

    Attributes:
        pfn: points to pillars.
        backbone: pillars or pseudo-images to BEV features, in PyTorch or as exported network.
        heads: BEV features to objects and drivable area.
        camera: images to camera features.
        fusion: BEV features and camera features to fused BEV features.
        grid: grid of the pseudo-image; None without a pillar feature net.
        refinement: objects and the points near them to refined objects; the second stage.
    """

    pfn: PillarRunner | None = None
    backbone: BackboneRunner | ExportedBackbone | None = None
    heads: HeadRunner | ExportedHeads | None = None
    camera: CameraRunner | None = None
    fusion: FusionRunner | None = None
    grid: BevGrid | None = None
    refinement: RefinementRunner | None = None

    @property
    def has_features(self) -> bool:
        """True unless heads are part of an exported network: there are no BEV features then."""
        return self.backbone is not None and not isinstance(self.heads, ExportedHeads)

    @property
    def feature_grid(self) -> BevGrid:
        """Grid of the BEV features, the fused features and the drivable area."""
        assert self.grid is not None and self.backbone is not None
        return self.grid.strided(self.backbone.stride)

    def __call__(
        self,
        points: np.ndarray,
        min_scores: tuple[float, ...],
        images: Sequence[tuple[np.ndarray, Camera] | None] = (),
    ) -> FrameOutputs:
        """Runs all stages on one cloud and, where there are any, on its images.

        Args:
            points: (N,4) or (N,5) float32 [x, y, z, intensity(, time)], x and y relative to the
                `reference` of the grid.
            min_scores: lowest score of a reported object, for each class.
            images: for each camera its (H,W,3) uint8 image and the Camera with its intrinsics and
                its pose in the frame of the points; None for a missing image.

        Raises:
            TinyBevError: for the reasons of the stages.
        """
        assert self.pfn is not None and self.grid is not None
        timer = StageTimer(self.pfn.device)
        pillars = self.encode_points(points)
        timer.lap('pillars')
        features = self.extract_features(pillars.features, pillars.cells, self.grid.shape)
        timer.lap('backbone')
        grid = self.feature_grid
        if images:
            views = [image and self.encode_image(*image) for image in images]
            timer.lap('encoder')
            features = self.fuse(features, grid, views)
            timer.lap('fusion')
        outputs = HeadOutputs()
        if self.heads is not None:
            outputs = self.detect(features, grid, min_scores)
            timer.lap('heads')
        if self.refinement is not None and outputs.detections is not None:
            outputs = self.refine(outputs, points, min_scores)
            timer.lap('refinement')
        shown = features if self.has_features else None
        return FrameOutputs(pillars, shown, outputs, timer.seconds())

    def encode_points(self, points: np.ndarray) -> EncodedPillars:
        """Encodes a cloud as pillars; stage 'pillars'. See `PillarRunner.pillars`."""
        assert self.pfn is not None
        return EncodedPillars(*self.pfn.pillars(points), self.pfn.points_inside)

    def extract_features(self, features: Tensor, cells: Tensor, shape: tuple[int, int]) -> Tensor:
        """Computes BEV features (1,C,h,w) of pillars on a grid of (H,W); stage 'backbone'.

        See `BackboneRunner.from_checked`. Without `has_features`, the maps of the heads are
        returned in place of features.
        """
        assert self.backbone is not None
        return self.backbone.from_checked(features, cells, shape)

    def extract_features_dense(self, pseudo_image: Tensor) -> Tensor:
        """Computes BEV features (B,C,h,w) of pseudo-images; stage 'backbone'.

        See `BackboneRunner`.
        """
        assert self.backbone is not None
        return self.backbone(pseudo_image)

    def encode_image(self, rgb: np.ndarray, camera: Camera) -> View:
        """Computes features of one image; stage 'encoder'. See `CameraRunner`."""
        assert self.camera is not None
        return self.camera(rgb, camera)

    def fuse(self, bev: Tensor, grid: BevGrid, views: Sequence[View | None]) -> Tensor:
        """Fuses BEV features with camera features; stage 'fusion'. See `FusionRunner`."""
        assert self.fusion is not None
        return self.fusion(bev, grid, views)

    def detect(
        self, features: Tensor, grid: BevGrid, min_scores: tuple[float, ...]
    ) -> HeadOutputs:
        """Finds objects and drivable area in BEV features; stage 'heads'. See `HeadRunner`.

        With a second stage, objects of lower scores are among them: `refine` must follow.
        """
        assert self.heads is not None
        if self.refinement is not None:
            min_scores = self.refinement.candidate_scores
        return self.heads(features, grid, min_scores)

    def refine(
        self,
        outputs: HeadOutputs,
        points: np.ndarray,
        min_scores: tuple[float, ...],
        sensor: tuple[float, float] = (0.0, 0.0),
    ) -> HeadOutputs:
        """Fits the objects to the points near them; stage 'refinement'. See `RefinementRunner`.

        Args:
            outputs: outputs of `detect`.
            points: points of the same frame, as for a call.
            min_scores: lowest score of a reported object, for each class.
            sensor: x and y of the sensor, relative to the `reference` of the grid, in metres.
        """
        assert self.refinement is not None and self.grid is not None
        assert outputs.detections is not None
        reference = self.grid.reference
        refined = self.refinement(outputs.detections, points, min_scores, reference, sensor)
        return HeadOutputs({**outputs, 'detection': refined})

    def release(self, successor: ModelRunner | None = None) -> None:
        """Frees the buffers of backbone and heads, unless ``successor`` shares their runners.

        The other runners keep no buffers.
        """
        for name in ('backbone', 'heads'):
            runner = getattr(self, name)
            if runner is not None and runner is not getattr(successor, name, None):
                runner.release()
