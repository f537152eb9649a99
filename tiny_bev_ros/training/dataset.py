# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Samples and batches: crops of labelled frames as tensors, with the targets of the heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.camera.geometry import Camera
from tiny_bev_ros.models.heads.head_registry import (
    FrameLabels,
    compute_targets,
    list_heads,
    map_tensors,
    stack_targets,
)
from tiny_bev_ros.training.augment import Augmentation, augment, choose_heading
from tiny_bev_ros.training.labelled_frame import GROUND, MIN_POINTS, Frame

# Probability of a crop that includes the sensor's sides or rear, for maps around the sensor.
_AROUND = 0.4


class Sample(NamedTuple):
    """One crop of a frame; `collate` makes a batch of samples.

    Attributes:
        points: (N,4) float32 x, y, z, intensity. Intensity is 0: networks learn from shape
            alone, as intensities differ from sensor to sensor.
        low: (2,) float32 x and y of the lower corner of the crop, in metres.
        targets: targets of each head, by the head's name.
        images: (K,3,H,W) float32, 0 to 1, of K cameras; None without cameras.
        cameras: K cameras.
    """

    points: Tensor
    low: Tensor
    targets: dict[str, Any]
    images: Tensor | None = None
    cameras: tuple[Camera, ...] = ()


class Batch(NamedTuple):
    """B samples: ``points`` and ``cameras`` are lists of B, the rest is stacked.

    Attributes:
        points: B clouds (N,4).
        low: (B,2) float32 lower corners.
        targets: targets of each head; each tensor has a first axis of B.
        images: (B,K,3,H,W); None without cameras.
        cameras: B lists of K cameras.
    """

    points: list[Tensor]
    low: Tensor
    targets: dict[str, Any]
    images: Tensor | None
    cameras: list[list[Camera | None]]

    def to(self, device: torch.device) -> Batch:
        """Returns the batch with the tensors that networks and losses take on a device."""
        targets = map_tensors(lambda tensor: tensor.to(device), self.targets)
        images = None if self.images is None else self.images.to(device)
        points = [cloud.to(device) for cloud in self.points]
        return self._replace(points=points, targets=targets, images=images)


@dataclass(frozen=True)
class Crop:
    """Square part of the map on which a network is trained.

    Attributes:
        size: side of the square, in metres.
        resolution: side of a cell of the pseudo-image, in metres.
        z_range: lowest and highest z of points, in metres from the sensor.
        stride: cells of the pseudo-image per cell of the BEV features.
    """

    size: float = 52.0
    resolution: float = 0.25
    z_range: tuple[float, float] = (-3.0, 2.0)
    stride: int = 2

    def grid(self, x: float, y: float) -> BevGrid:
        """Returns the grid of the pseudo-image of the crop whose lower corner is (x, y)."""
        return BevGrid((x, x + self.size), (y, y + self.size), self.z_range, self.resolution)

    def ahead(self) -> BevGrid:
        """Returns the grid of the crop that lies straight ahead of the sensor."""
        return self.grid(0.0, -self.size / 2)


def make_sample(
    frame: Frame, grid: BevGrid, stride: int, heads: Sequence[str] | None = None
) -> Sample:
    """Makes a sample of the part of a frame that lies on a grid.

    Args:
        frame: the labelled cloud.
        grid: grid of the pseudo-image.
        stride: cells of the pseudo-image per cell of the BEV features.
        heads: names of the heads with targets in the sample; None for all registered heads.
    """
    (x_low, x_high), (y_low, y_high), (z_low, z_high) = grid.x_range, grid.y_range, grid.z_range
    x, y, z = frame.points[:, :3].T
    inside = (
        (x >= x_low) & (x < x_high) & (y >= y_low) & (y < y_high) & (z >= z_low) & (z < z_high)
    )
    points = frame.points[inside]
    points[:, 3] = 0
    labels = frame_labels(frame, points, frame.instance_ids[inside] == GROUND)
    heads = list_heads() if heads is None else heads
    targets = compute_targets(heads, labels, grid.strided(stride))
    return Sample(torch.from_numpy(points), torch.tensor([x_low, y_low]), targets)


def frame_labels(frame: Frame, points: np.ndarray, ground: np.ndarray) -> FrameLabels:
    """Converts the labels of a frame for the heads; objects of few points are ignored.

    Args:
        frame: the labelled cloud, by all points of which an object's points are counted.
        points: (N,4) input points of the network.
        ground: (N,) bool, True for points on the ground.
    """
    known = frame.labels >= 0
    return FrameLabels(
        points,
        ground,
        frame.boxes[known],
        frame.labels[known],
        frame.counts[known] < MIN_POINTS,
        None if frame.road is None else frame.road.drivable_at,
        frame.exact_boxes,
    )


def collate(items: Sequence[Sequence[Sample]]) -> Batch:
    """Makes one batch of the samples of several items of a dataset."""
    samples = [sample for item in items for sample in item]
    images = [sample.images for sample in samples if sample.images is not None]
    return Batch(
        [sample.points for sample in samples],
        torch.stack([sample.low for sample in samples]),
        stack_targets([sample.targets for sample in samples]),
        torch.stack(images) if images else None,
        [list(sample.cameras) for sample in samples],
    )


def repeat_targets(targets: dict[str, Any], times: int) -> dict[str, Any]:
    """Repeats the targets of a whole batch, for heads that predict several times for a frame."""
    repeated: dict[str, Any] = map_tensors(lambda tensor: torch.cat([tensor] * times), targets)
    return repeated


class Crops(Dataset):
    """Augmented crops of LiDAR frames; item i is the same in every run of the same seed.

    Args:
        frame: function that makes frame i.
        count: number of items.
        crop: size and resolution of a sample.
        seed: seed of augmentation and positions.
        augmentation: limits of the augmentation.
        per_frame: samples of one frame.
        heads: names of the heads with targets in the samples; None for all registered heads.
    """

    def __init__(
        self,
        frame: Callable[[int], Frame],
        count: int,
        crop: Crop,
        seed: int,
        augmentation: Augmentation,
        per_frame: int = 2,
        heads: Sequence[str] | None = None,
    ) -> None:
        self._frame, self._count, self._crop, self._seed = frame, count, crop, seed
        self._augmentation, self._per_frame, self._heads = augmentation, per_frame, heads

    def __len__(self) -> int:
        """Number of items."""
        return self._count

    def __getitem__(self, index: int) -> list[Sample]:
        """Makes the samples of frame ``index``."""
        random = np.random.default_rng((self._seed, index, 2))
        frame = self._frame(index)
        return [self._sample(frame, random) for _ in range(self._per_frame)]

    def _sample(self, frame: Frame, random: np.random.Generator) -> Sample:
        crop, half = self._crop, self._crop.size / 2
        frame = choose_heading(frame, random, self._augmentation.any_angle)
        frame = augment(frame, random, self._augmentation)
        grid = crop.ahead()
        if random.random() < _AROUND:
            grid = crop.grid(random.uniform(-half, 0), random.uniform(-2 * half, 0))
        return make_sample(frame, grid, crop.stride, self._heads)
