# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Detector that finds what a test put into a cloud, and such clouds."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from tiny_bev_ros.grid import BevGrid

REACH, CELL = 16.0, 0.25


def cloud_with_cars(positions, shift=0.0):
    """Makes (N,4) points: level ground at -1.73 m, and cars, marked by their intensity.

    Args:
        positions: x and y of the cars.
        shift: metres by which the cars are moved along x.
    """
    axis = np.arange(-REACH + 0.25, REACH, 0.5)
    x, y = (each.ravel() for each in np.meshgrid(axis, axis))
    parts = [np.stack([x, y, np.full_like(x, -1.73), np.zeros_like(x)], axis=1)]
    side = np.linspace(-0.8, 0.8, 9)
    for number, (car_x, car_y) in enumerate(positions, 1):
        along, across = (each.ravel() for each in np.meshgrid(2 * side, side))
        values = [car_x + shift + along, car_y + across, np.full_like(along, -0.6)]
        parts.append(np.stack([*values, np.full_like(along, number)], axis=1))
    return np.concatenate(parts).astype(np.float32)


class SteadyDetector:
    """Stands for `Detector`: a box for each marked car, and road to the left.

    Args:
        score: score of every car.
        missed_flips: number of first passes over each cloud, of four, in which no car is found.
    """

    def __init__(self, score: float = 0.8, missed_flips: int = 0) -> None:
        self.score, self.missed_flips, self.calls = score, missed_flips, 0
        self.grid = BevGrid((-REACH, REACH), (-REACH, REACH), (-3.0, 2.0), CELL)
        self.feature_grid = self.grid.strided(2)

    def __call__(self, points, min_scores):
        missed = self.calls % 4 < self.missed_flips
        flipped = self.calls % 4 in (1, 3)  # left and right are exchanged
        self.calls += 1
        marks = [] if missed else [mark for mark in np.unique(points[:, 3]) if mark > 0]
        centres = [points[points[:, 3] == mark, :2].mean(axis=0) for mark in marks]
        boxes = np.array([[x, y, -0.9, 3.6, 1.8, 1.6, 0.0] for x, y in centres], np.float32)
        road = np.zeros(self.feature_grid.shape, np.float32)
        half = len(road) // 2
        road[(slice(None, half) if flipped else slice(half, None))] = 0.9
        return SimpleNamespace(
            boxes=boxes.reshape(-1, 7),
            scores=np.full(len(boxes), self.score, np.float32),
            label_ids=np.zeros(len(boxes), np.int64),
            drivable=road,
        )
