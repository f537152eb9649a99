# SPDX-License-Identifier: Apache-2.0
"""Frames as tensors: pieces of the map that fit into a batch, and what should be found there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.heads.losses import DetectionTargets, make_targets
from tiny_bev_ros.models.observed_ground import looked_at
from tiny_bev_ros.training.labelled_frame import Augmentation, Frame, facing, varied

# Objects of fewer points are not asked for, and not wrong where they are found.
FEWEST_POINTS = 5


class Sample(NamedTuple):
    """One piece of a frame; see `collate` for a batch of them.

    Attributes:
        points: (N,4) float32, intensity 0: networks learn from shape alone, as intensities
            differ from sensor to sensor.
        low: (2,) float32 x and y of the piece's lower corner.
        targets: of the detection head.
        drivable: (h,w) float32, 1 for road surface.
        seen: (h,w) float32, 1 where that is known and was looked at.
    """

    points: Tensor
    low: Tensor
    targets: DetectionTargets
    drivable: Tensor
    seen: Tensor


class Batch(NamedTuple):
    """Several samples. ``points`` stays a list; the rest is stacked."""

    points: list[Tensor]
    low: Tensor
    targets: DetectionTargets
    drivable: Tensor
    seen: Tensor


@dataclass(frozen=True)
class Crop:
    """What part of the world a network is shown at a time.

    Attributes:
        size: of a square, in metres.
        cell: of the pseudo-image, in metres.
        z_range: in metres.
        stride: of the features.
    """

    size: float = 52.0
    cell: float = 0.25
    z_range: tuple[float, float] = (-3.0, 2.0)
    stride: int = 2

    def grid(self, x: float, y: float) -> BevGrid:
        """Of the pseudo-image of the piece whose lower corner that is."""
        return BevGrid((x, x + self.size), (y, y + self.size), self.z_range, self.cell)


def make_sample(frame: Frame, grid: BevGrid, stride: int) -> Sample:
    """One sample: the part of a frame that lies on a grid."""
    points = frame.points.copy()
    points[:, 3] = 0
    (x_low, x_high), (y_low, y_high), (z_low, z_high) = grid.x_range, grid.y_range, grid.z_range
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    inside = (
        (x >= x_low) & (x < x_high) & (y >= y_low) & (y < y_high) & (z >= z_low) & (z < z_high)
    )
    points, owner = points[inside], frame.owner[inside]
    fine = grid.strided(stride)
    targets = targets_of(frame, fine)
    drivable = torch.zeros(fine.shape)
    seen = torch.zeros(fine.shape)
    if frame.road is not None:
        rows, cols = fine.shape
        at_x, at_y = np.meshgrid(
            fine.x_axis.centre(np.arange(cols)), fine.y_axis.centre(np.arange(rows))
        )
        drivable = torch.from_numpy(frame.road.at(at_x, at_y).astype(np.float32))
        seen = _seen(points[owner == -2], fine)
    return Sample(torch.from_numpy(points), torch.tensor([x_low, y_low]), targets, drivable, seen)


def targets_of(frame: Frame, grid: BevGrid) -> DetectionTargets:
    """What maps on a grid should be; objects of few points are left open."""
    known = frame.labels >= 0
    return make_targets(
        torch.from_numpy(frame.boxes[known]),
        torch.from_numpy(frame.labels[known]),
        torch.from_numpy(frame.counts[known] < FEWEST_POINTS),
        grid,
    )


def collate(samples: Sequence[Sequence[Sample]]) -> Batch:
    """Samples of several items of a dataset as one batch."""
    flat = [sample for group in samples for sample in group]
    targets = DetectionTargets(
        *(torch.stack(each) for each in zip(*(s.targets for s in flat), strict=True))
    )
    return Batch(
        [sample.points for sample in flat],
        torch.stack([sample.low for sample in flat]),
        targets,
        torch.stack([sample.drivable for sample in flat]),
        torch.stack([sample.seen for sample in flat]),
    )


class Crops(Dataset):
    """Crops of frames, varied; item i is the same in every run of the same seed.

    Args:
        frame: makes frame i.
        count: how many items there are.
        piece: what part of a frame is a sample.
        seed: of the variation.
        much: how much is varied.
        each: samples of one frame.
    """

    def __init__(
        self,
        frame: Callable[[int], Frame],
        count: int,
        piece: Crop,
        seed: int,
        much: Augmentation,
        each: int = 2,
    ) -> None:
        self._frame, self._count = frame, count
        self._piece, self._seed, self._much, self._each = piece, seed, much, each

    def __len__(self) -> int:
        """How many items there are."""
        return self._count

    def __getitem__(self, index: int) -> list[Sample]:
        """Samples of frame ``index``."""
        random = np.random.default_rng((self._seed, index, 2))
        frame = self._frame(index)
        return [self._sample(frame, random) for _ in range(self._each)]

    def _sample(self, frame: Frame, random: np.random.Generator) -> Sample:
        piece, half = self._piece, self._piece.size / 2
        frame = varied(facing(frame, random), random, self._much)
        x, y = 0.0, -half
        if random.random() < 0.4:
            # Also what is beside and around the sensor, for maps of whole turns.
            x, y = random.uniform(-half, 0), random.uniform(-2 * half, 0)
        return make_sample(frame, piece.grid(x, y), piece.stride)


def _seen(points: np.ndarray, grid: BevGrid) -> Tensor:
    """(h,w) float32: 1 for cells that have one of these points in or near them."""
    row = torch.from_numpy(grid.y_axis.index(points[:, 1]).astype(np.int64))
    col = torch.from_numpy(grid.x_axis.index(points[:, 0]).astype(np.int64))
    rows, cols = grid.shape
    return looked_at(row.clamp(0, rows - 1), col.clamp(0, cols - 1), grid.shape).float()
