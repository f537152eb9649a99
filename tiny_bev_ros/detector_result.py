# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Results of a Detector: objects, drivable area, BEV features and the observed ground."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.head_runner import HeadOutputs
from tiny_bev_ros.models.heads.detection import CLASSES
from tiny_bev_ros.models.levelling import Levelling
from tiny_bev_ros.models.observed_ground import observed_cells, sampled_road_height


class GroundPoints(NamedTuple):
    """Parts of a cloud from which the observed ground is computed on demand.

    Attributes:
        cells: (P,2) int64 [row, col] of the pillars on the grid of the pillars.
        stride: side of a cell of the features, in cells of that grid.
        samples: (N,4) or (N,5) float32 `height_samples` of the normalized cloud, a copy.
        grid: grid of the features, in the frame of the samples.
        levelling: transform from the cloud to the samples; None for none.
    """

    cells: torch.Tensor
    stride: int
    samples: np.ndarray
    grid: BevGrid
    levelling: Levelling | None


class DetectedObject(NamedTuple):
    """One object in the frame of the points.

    Attributes:
        label: vehicle, pedestrian or cyclist.
        score: confidence, 0 to 1.
        x: forward position of the box's centre, in metres.
        y: leftward position of the box's centre, in metres.
        z: upward position of the box's centre, in metres.
        length: size along the heading, in metres.
        width: size across the heading, in metres.
        height: size along z, in metres.
        yaw: heading from the x axis towards the y axis, in radians, -pi to pi.
    """

    label: str
    score: float
    x: float
    y: float
    z: float
    length: float
    width: float
    height: float
    yaw: float


@dataclass(frozen=True)
class DetectorResult:
    """Outputs of a Detector for one cloud, in the frame of its points.

    Attributes:
        heads: outputs of the heads, as tensors on the CPU.
        features: (1,C,h,w) float32 BEV features on the detector's device, which may be
            channels_last in memory; None where an exported network computes the heads as well.
        grid: grid of the features and of the drivable area: rows run along y, columns along x.
        seconds: time of each stage, by the device's clock: pillars, backbone,
            heads, and refinement where the weights have a second stage.
        ground: pillars and points from which `observed` and `road_height` are computed.
    """

    heads: HeadOutputs
    features: torch.Tensor | None
    grid: BevGrid
    seconds: dict[str, float]
    ground: GroundPoints = field(repr=False)

    @property
    def objects(self) -> list[DetectedObject]:
        """Objects with named values, best first."""
        return [
            DetectedObject(label, score, *box)
            for label, score, box in zip(
                self.labels, self.scores.tolist(), self.boxes.tolist(), strict=True
            )
        ]

    @property
    def boxes(self) -> np.ndarray:
        """(N,7) float32 x, y, z, length, width, height, yaw of the objects, best first."""
        detections = self.heads.detections
        return np.empty((0, 7), np.float32) if detections is None else detections.boxes.numpy()

    @property
    def scores(self) -> np.ndarray:
        """(N,) float32 scores of the objects, 0 to 1."""
        detections = self.heads.detections
        return np.empty(0, np.float32) if detections is None else detections.scores.numpy()

    @property
    def label_ids(self) -> np.ndarray:
        """(N,) int64 classes of the objects, indices into `Detector.classes`."""
        detections = self.heads.detections
        return np.empty(0, np.int64) if detections is None else detections.labels.numpy()

    @property
    def labels(self) -> list[str]:
        """Names of the classes of the objects."""
        return [CLASSES[index] for index in self.label_ids]

    @property
    def drivable(self) -> np.ndarray | None:
        """(h,w) float32 probability of road surface on `grid`; None without that head."""
        drivable = self.heads.drivable
        return None if drivable is None else drivable.numpy()

    @cached_property
    def observed(self) -> np.ndarray:
        """(h,w) bool: cells of `grid` near points, the others are unknown in `drivable_area`."""
        row, col = (self.ground.cells // self.ground.stride).T
        return observed_cells(row, col, self.grid.shape).numpy()

    @cached_property
    def road_height(self) -> float | None:
        """Height of the drivable area in metres, in the frame of the points; None if unknown.

        It is the median over points on drivable cells, of which there must be enough. The nodes
        publish the last known height where it is None.
        """
        drivable, levelling = self.heads.drivable, self.ground.levelling
        if drivable is None:
            return None
        height = sampled_road_height(self.ground.samples, drivable, self.ground.grid)
        if height is None or levelling is None:
            return height
        return levelling.restore_height(height)
