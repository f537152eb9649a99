# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Agreement of Autoware's node, emulated, with the detector of this package."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tiny_bev_ros.detector import Detector
from tiny_bev_ros.export.autoware_emulation import (
    AutowareGrid,
    AutowareObjects,
    EmulatedNode,
    decode,
    make_pillars,
)

# Largest distance in metres, along each axis together, and angle in radians of matching boxes.
MAX_DISTANCE, MAX_ANGLE = 0.3, np.radians(5.0)
# Lowest score of an object whose score alone is too low.
_NEAR_SCORE = 0.1
# Summand of a box that turns it by half a turn.
_HALF_TURN = np.array([0, 0, 0, 0, 0, 0, np.pi], np.float32)


@dataclass
class Agreement:
    """Counts of objects of this package, and of those that the node reports as well.

    Attributes:
        total: number of objects of this package.
        matched: number of those that the node reports with an equal class.
        reasons: number of the other ones by reason.
        added: number of objects that the node alone reports.
    """

    total: int = 0
    matched: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    added: int = 0

    @property
    def fraction(self) -> float:
        """Fraction of the objects of this package that match; 1 without any."""
        return self.matched / self.total if self.total else 1.0

    def __str__(self) -> str:
        """Returns the counts in one line."""
        reasons = ', '.join(f'{name}: {count}' for name, count in sorted(self.reasons.items()))
        text = f'{self.matched} of {self.total} objects match, the node alone has {self.added}'
        return f'{text} ({reasons})' if reasons else text


def to_base_link(points: np.ndarray, sensor_height: float) -> np.ndarray:
    """Moves points (N,3+) from the frame of the networks to that of Autoware; returns (N,3)."""
    return points[:, :3] + np.array([0.0, 0.0, sensor_height], np.float32)


def detected(
    detector: Detector,
    points: np.ndarray,
    sensor_height: float,
    min_scores: float | Sequence[float],
) -> AutowareObjects:
    """Returns the objects of this package in the frame of Autoware's cloud.

    Args:
        detector: detector without a second stage.
        points: (N,3+) float32 points in the frame of the networks, in metres.
        sensor_height: z of the origin of that frame in Autoware's cloud, in metres.
        min_scores: lowest score of an object, one for all classes or one for each.
    """
    result = detector(points, min_scores)
    boxes = result.boxes + np.array([0, 0, sensor_height, 0, 0, 0, 0], np.float32)
    return AutowareObjects(boxes, result.scores, result.label_ids)


def add_sweep(
    agreement: Agreement, node: EmulatedNode, points: np.ndarray, wanted: AutowareObjects
) -> None:
    """Compares the objects of one sweep and adds the counts.

    Args:
        agreement: counts, which are changed.
        node: emulated node.
        points: (N,3) float32 cloud in the frame of the node.
        wanted: objects of this package in that frame.
    """
    pillars = make_pillars(points, node.grid)
    outputs = node.run_head(node.scatter(node.encode(pillars), pillars.cells))
    found = node.objects(outputs)
    near = _matches(wanted, found)
    same = near & (wanted.labels[:, None] == found.labels)
    matched = same.any(1)
    candidates = decode(outputs, node.model, _NEAR_SCORE)
    reported = decode(outputs, node.model)
    for index in np.flatnonzero(~matched):
        one = wanted.select(np.array([index]))
        agreement.reasons[_reason(one, candidates, reported, pillars.crowded, node.grid)] += 1
    agreement.total += len(matched)
    agreement.matched += int(matched.sum())
    agreement.added += int((~_matches(found, wanted).any(1)).sum())


def _matches(wanted: AutowareObjects, found: AutowareObjects) -> np.ndarray:
    """Returns (N,M) bool: true for boxes of about one position and heading."""
    offset = wanted.boxes[:, None] - found.boxes
    angle = np.abs((offset[..., 6] + np.pi) % (2 * np.pi) - np.pi)
    near: np.ndarray = np.linalg.norm(offset[..., :3], axis=2) <= MAX_DISTANCE
    return near & (angle <= MAX_ANGLE)


def _reason(
    one: AutowareObjects,
    candidates: AutowareObjects,
    reported: AutowareObjects,
    crowded: np.ndarray,
    grid: AutowareGrid,
) -> str:
    """Returns the reason for which the node does not report an object as this package does."""
    for name, objects in (('suppressed by another object', reported), ('score', candidates)):
        if (_matches(one, objects) & (one.labels[:, None] == objects.labels)).any():
            return name
    if _matches(one, candidates).any():
        return 'one class per cell'
    if _holds_any(one.boxes[0], crowded, grid):
        return 'cap of 32 points per pillar'
    turned = AutowareObjects(one.boxes + _HALF_TURN, one.scores, one.labels)
    return 'opposite heading' if _matches(turned, candidates).any() else 'other'


def _holds_any(box: np.ndarray, cells: np.ndarray, grid: AutowareGrid) -> bool:
    """Returns true if the centre of any of the cells lies in a box, seen from above."""
    x = (cells % grid.shape[1] + 0.5) * grid.voxel[0] + grid.low[0] - box[0]
    y = (cells // grid.shape[1] + 0.5) * grid.voxel[1] + grid.low[1] - box[1]
    cos, sin = np.cos(box[6]), np.sin(box[6])
    along, across = np.abs(cos * x + sin * y), np.abs(cos * y - sin * x)
    return bool(((along <= box[3] / 2) & (across <= box[4] / 2)).any())
