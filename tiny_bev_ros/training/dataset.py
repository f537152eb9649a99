# SPDX-License-Identifier: Apache-2.0
"""Frames as tensors: pieces of the map that fit into a batch, and what should be found there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.heads.head_registry import (
    FrameLabels,
    compute_targets,
    list_heads,
    stack_targets,
)
from tiny_bev_ros.training.labelled_frame import Augmentation, Frame, facing, varied

# Objects of fewer points are not asked for, and not wrong where they are found.
FEWEST_POINTS = 5


class Sample(NamedTuple):
    """One piece of a frame; see `collate` for a batch of them.

    Attributes:
        points: (N,4) float32, intensity 0: networks learn from shape alone, as intensities
            differ from sensor to sensor.
        low: (2,) float32 x and y of the piece's lower corner.
        targets: targets by name of the head.
    """

    points: Tensor
    low: Tensor
    targets: dict[str, Any]


class Batch(NamedTuple):
    """Several samples. ``points`` stays a list; the rest is stacked."""

    points: list[Tensor]
    low: Tensor
    targets: dict[str, Any]


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


def make_sample(
    frame: Frame, grid: BevGrid, stride: int, heads: Sequence[str] | None = None
) -> Sample:
    """Sample of the part of a frame that lies on a grid, with targets of some or all heads."""
    points = frame.points.copy()
    points[:, 3] = 0
    (x_low, x_high), (y_low, y_high), (z_low, z_high) = grid.x_range, grid.y_range, grid.z_range
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    inside = (
        (x >= x_low) & (x < x_high) & (y >= y_low) & (y < y_high) & (z >= z_low) & (z < z_high)
    )
    points = points[inside]
    labels = frame_labels(frame, points, frame.owner[inside] == -2)
    heads = list_heads() if heads is None else heads
    targets = compute_targets(heads, labels, grid.strided(stride))
    return Sample(torch.from_numpy(points), torch.tensor([x_low, y_low]), targets)


def frame_labels(frame: Frame, points: np.ndarray, ground: np.ndarray) -> FrameLabels:
    """Labels as heads take them; objects of few points are ignored."""
    known = frame.labels >= 0
    return FrameLabels(
        points,
        ground,
        frame.boxes[known],
        frame.labels[known],
        frame.counts[known] < FEWEST_POINTS,
        None if frame.road is None else frame.road.at,
    )


def collate(samples: Sequence[Sequence[Sample]]) -> Batch:
    """Samples of several items of a dataset as one batch."""
    flat = [sample for group in samples for sample in group]
    return Batch(
        [sample.points for sample in flat],
        torch.stack([sample.low for sample in flat]),
        stack_targets([sample.targets for sample in flat]),
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
        heads: names of the heads whose targets samples hold; None for all.
    """

    def __init__(
        self,
        frame: Callable[[int], Frame],
        count: int,
        piece: Crop,
        seed: int,
        much: Augmentation,
        each: int = 2,
        heads: Sequence[str] | None = None,
    ) -> None:
        self._frame, self._count = frame, count
        self._piece, self._seed, self._much, self._each = piece, seed, much, each
        self._heads = heads

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
        return make_sample(frame, piece.grid(x, y), piece.stride, self._heads)
