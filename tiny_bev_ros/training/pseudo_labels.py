# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Labels that a detector gives to recorded clouds, for self-training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from tiny_bev_ros.detector import Detector
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.sim.world.terrain import CELL, Terrain
from tiny_bev_ros.training.fused_detections import FusedDetections, detect_flipped, recurring
from tiny_bev_ros.training.labelled_frame import GROUND, Frame, Road, in_box, is_whole

# Fused score and fraction of flips from which a detection that recurs is a label. Others are
# ignored: neither required nor counted as wrong.
MIN_SCORE, MIN_AGREEMENT = 0.4, 0.75
# Points count as ground up to this height in metres above the lowest point in the cells around
# them: side of a cell in metres, and cells to either side.
_GROUND_HEIGHT, _GROUND_CELL, _GROUND_REACH = 0.2, 0.5, 2


class LabelledRun(NamedTuple):
    """Detections in successive clouds, and the frames that are made of them.

    Attributes:
        detections: fused detections of each cloud.
        recurs: (N,) bool for each cloud: detections that recur in its neighbours.
        frames: each cloud with its labels.
    """

    detections: list[FusedDetections]
    recurs: list[np.ndarray]
    frames: list[Frame]


def label_runs(detector: Detector, runs: Sequence[Sequence[np.ndarray]]) -> list[LabelledRun]:
    """Labels runs of successive clouds; see `label_run`."""
    return [label_run(detector, run) for run in tqdm(runs, unit='run', desc='label', disable=None)]


def label_run(detector: Detector, clouds: Sequence[np.ndarray]) -> LabelledRun:
    """Labels successive clouds by detections that agree over flips and neighbours.

    Args:
        detector: detector whose grid lies around the sensor, equally far to all sides.
        clouds: (N,4) float32 points of each cloud.
    """
    results = [detect_flipped(detector, points) for points in clouds]
    detections = [result[0] for result in results]
    padded = [None, *detections, None]
    recurs = [
        recurring(now, before, after)
        for before, now, after in zip(padded, detections, padded[2:], strict=False)
    ]
    frames = [
        make_frame(points, found, recur, None if road is None else road >= 0.5, detector)
        for points, (found, road), recur in zip(clouds, results, recurs, strict=True)
    ]
    return LabelledRun(detections, recurs, frames)


def is_label(detections: FusedDetections, recurs: np.ndarray) -> np.ndarray:
    """Returns (N,) bool: true for the detections that become labels."""
    agree = (detections.scores >= MIN_SCORE) & (detections.agreement >= MIN_AGREEMENT)
    return agree & recurs


def make_frame(
    points: np.ndarray,
    detections: FusedDetections,
    recurs: np.ndarray,
    drivable: np.ndarray | None,
    detector: Detector,
) -> Frame:
    """Makes the labelled frame of a cloud.

    Objects that are no label have no points in the frame, and so are ignored. Labels tell in which
    cell an object is, but not its box, as scores do not tell how well a predicted box fits (Liu et
    al., "Unbiased Teacher for Semi-Supervised Object Detection", ICLR 2021).

    Args:
        points: (N,4) float32.
        detections: detections in the cloud.
        recurs: bool for each detection, true where it recurs in neighbouring clouds.
        drivable: (h,w) bool road on the grid of the detector's features; None if unknown.
        detector: detector with that grid.
    """
    ids = np.full(len(points), -1, np.int32)
    ids[ground_points(points)] = GROUND
    for index in np.nonzero(is_label(detections, recurs))[0]:
        ids[in_box(detections.boxes[index], points, 0.1)] = index
    road = None if drivable is None else predicted_road(drivable, detector.feature_grid)
    labels = detections.labels
    return Frame(
        points, ids, detections.boxes, labels, road, whole=is_whole(points), exact_boxes=False
    )


def ground_points(points: np.ndarray) -> np.ndarray:
    """Returns (N,) bool: true for points little above the lowest ones around them."""
    cells = np.floor(points[:, :2] / _GROUND_CELL).astype(np.int64)
    cells -= cells.min(axis=0, initial=0)
    margin = _GROUND_REACH
    lowest = np.full(cells.max(axis=0, initial=0) + 1 + 2 * margin, np.inf, np.float32)
    np.minimum.at(lowest, tuple(cells.T + margin), points[:, 2])
    for axis in (0, 1):
        shifts = range(-margin, margin + 1)
        lowest = np.min([np.roll(lowest, shift, axis) for shift in shifts], axis=0)
    ground: np.ndarray = points[:, 2] < lowest[tuple(cells.T + margin)] + _GROUND_HEIGHT
    return ground


def predicted_road(drivable: np.ndarray, grid: BevGrid) -> Road:
    """Converts a predicted road to a map as that of simulated frames.

    Args:
        drivable: (h,w) bool road on the grid.
        grid: the grid.
    """
    (x_low, x_high), (y_low, y_high) = grid.x_range, grid.y_range
    col = (np.arange(round((x_high - x_low) / CELL)) + 0.5) * CELL / grid.resolution
    row = (np.arange(round((y_high - y_low) / CELL)) + 0.5) * CELL / grid.resolution
    rows, cols = drivable.shape
    row, col = row.astype(np.int64).clip(0, rows - 1), col.astype(np.int64).clip(0, cols - 1)
    road = drivable[np.ix_(row, col)]
    zeros = np.zeros(road.shape, np.float32)
    return Road(Terrain((x_low, y_low), zeros, zeros, road, zeros > 0), np.eye(2, 3))
