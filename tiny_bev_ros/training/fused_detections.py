# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Detections that agree: over flips of one cloud, and over successive clouds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tiny_bev_ros.detector import Detector

# Signs of x and y of the passes that are fused: the cloud, its mirror images, and half a turn.
FLIPS = ((1, 1), (1, -1), (-1, 1), (-1, -1))
# Detections of lower scores in a pass are dropped.
MIN_SCORE = 0.05
# Distance in metres within which detections of two passes are one object, by class.
_SAME = np.array([1.5, 0.5, 0.7])
# Largest distance in metres between an object's positions in successive clouds: 40 m/s relative to
# the sensor at 10 Hz, or 15 m/s for a pedestrian beside a car that drives by.
_STEP = np.array([4.0, 1.5, 3.0])


@dataclass(frozen=True)
class FusedDetections:
    """Objects of one cloud by several passes.

    Attributes:
        boxes: (N,7) float32 x, y, z, length, width, height, yaw.
        scores: (N,) float32 sum of the scores over the number of passes.
        labels: (N,) int64 classes.
        agreement: (N,) float32 fraction of the passes that found the object.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    agreement: np.ndarray


def detect_flipped(
    detector: Detector, points: np.ndarray
) -> tuple[FusedDetections, np.ndarray | None]:
    """Runs a detector on a cloud and its flips, and fuses the results.

    Args:
        detector: detector whose grid lies around the sensor, equally far to all sides.
        points: (N,3+) float32.

    Returns:
        The objects, and the (h,w) mean probability of road; None without such a head.
    """
    passes, roads = [], []
    for flip in FLIPS:
        flipped = points.copy()
        flipped[:, :2] *= np.array(flip, points.dtype)
        result = detector(flipped, MIN_SCORE)
        passes.append((flip_boxes(result.boxes, flip), result.scores, result.label_ids))
        if result.drivable is not None:
            roads.append(result.drivable[:: flip[1], :: flip[0]])
    return fuse(passes), np.mean(roads, axis=0) if roads else None


def flip_boxes(boxes: np.ndarray, flip: tuple[int, int]) -> np.ndarray:
    """Returns (N,7) boxes whose x and y are multiplied by signs."""
    flipped = boxes.copy()
    flipped[:, :2] *= flip
    flipped[:, 6] = np.arctan2(flip[1] * np.sin(boxes[:, 6]), flip[0] * np.cos(boxes[:, 6]))
    return flipped


def fuse(passes: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> FusedDetections:
    """Fuses the detections of several passes over one cloud.

    Boxes are averaged by their scores, as in Solovyev et al., "Weighted boxes fusion", 2021;
    an object is at most one detection of each pass.

    Args:
        passes: boxes (N,7), scores (N,) and labels (N,) of each pass.
    """
    boxes, scores, labels = (np.concatenate(values) for values in zip(*passes, strict=True))
    number = np.repeat(np.arange(len(passes)), [len(each[0]) for each in passes])
    free = np.ones(len(boxes), np.bool_)
    groups = []
    for index in np.argsort(-scores, kind='stable'):
        if not free[index]:
            continue
        away = np.hypot(*(boxes[:, :2] - boxes[index, :2]).T)
        same = free & (labels == labels[index]) & (away < _SAME[labels[index]])
        same &= number != number[index]
        same[index] = True
        near = np.nonzero(same)[0]
        near = near[np.argsort(away[near], kind='stable')]
        _, first = np.unique(number[near], return_index=True)
        groups.append(near[first])
        free[groups[-1]] = False
    return FusedDetections(
        np.array([_mean_box(boxes[group], scores[group]) for group in groups], np.float32)
        .reshape(-1, 7),
        np.array([scores[group].sum() / len(passes) for group in groups], np.float32),
        np.array([labels[group[0]] for group in groups], np.int64),
        np.array([len(group) / len(passes) for group in groups], np.float32),
    )  # fmt: skip


def _mean_box(boxes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    mean = np.average(boxes, axis=0, weights=weights)
    yaw = boxes[:, 6]
    # Headings may be opposite: the axis is averaged first, then the direction along it.
    axis = np.arctan2((weights * np.sin(2 * yaw)).sum(), (weights * np.cos(2 * yaw)).sum()) / 2
    back = (weights * np.cos(yaw - axis)).sum() < 0
    mean[6] = (axis + np.pi * back + np.pi) % (2 * np.pi) - np.pi
    return mean


def recurring(
    now: FusedDetections, before: FusedDetections | None, after: FusedDetections | None
) -> np.ndarray:
    """Tells which objects recur in the clouds before and after, in plausible motion.

    Between two neighbours an object stays at the mean of its positions in them, which holds for
    constant velocities of object and sensor. With one neighbour alone it is near its position
    there; without any nothing is known, and all recur.

    Returns:
        (N,) bool.
    """
    neighbours = [each for each in (before, after) if each is not None]
    recurs = np.ones(len(now.labels), np.bool_)
    for index, label in enumerate(now.labels):
        steps = [_steps(now.boxes[index], label, each) for each in neighbours]
        if len(steps) == 2:
            # Opposite steps: the sum is twice the distance to the mean of the two positions.
            bend = np.linalg.norm(steps[0][:, None] + steps[1], axis=2) / 2
            recurs[index] = (bend < _SAME[label]).any()
        elif steps:
            recurs[index] = len(steps[0]) > 0
    return recurs


def _steps(box: np.ndarray, label: int, other: FusedDetections) -> np.ndarray:
    """Returns (K,2) steps in x and y from an object to those of its class in another cloud."""
    steps: np.ndarray = other.boxes[other.labels == label, :2] - box[:2]
    return steps[np.linalg.norm(steps, axis=1) < _STEP[label]]


def match(first: FusedDetections, second: FusedDetections) -> np.ndarray:
    """Finds each object of one result in another; the nearest of its class, each at most once.

    Returns:
        (N,) int64 index into the second result, -1 for none.
    """
    found = np.full(len(first.scores), -1, np.int64)
    away = np.hypot(*(first.boxes[:, None, :2] - second.boxes[None, :, :2]).transpose(2, 0, 1))
    away[first.labels[:, None] != second.labels] = np.inf
    away[away >= _SAME[first.labels][:, None]] = np.inf
    while away.size and np.isfinite(nearest := away.min()):
        one, other = np.argwhere(away == nearest)[0]
        found[one] = other
        away[one], away[:, other] = np.inf, np.inf
    return found
