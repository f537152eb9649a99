# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Statistics of labelled sweeps, by which simulated streets are compared with real ones.

The view of a sweep is a sector of 80 degrees ahead, up to 50 m: about that of a camera, outside
of which KITTI has no labels. Heights are those above the ground before the sensor.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tiny_bev_ros.sim import CLASSES
from tiny_bev_ros.training.labelled_frame import MIN_POINTS, Frame

_HALF_VIEW, _REACH = np.radians(40), 50.0
_CELL = 0.4
# Heights in metres between which cells count as occupied.
_OCCUPIED = (0.33, 2.73)
# Oblique vehicles, in degrees off the nearest axis of the sensor.
_OBLIQUE = 20.0
# Thin things: side of a cell, range, and lowest and highest top, in metres.
_THIN_CELL, _THIN_REACH, _THIN_TOPS = 0.3, 30.0, (0.9, 1.4)


@dataclass(frozen=True)
class StreetStatistics:
    """Statistics of some sweeps.

    Attributes:
        frames: number of sweeps.
        occupied: mean number of cells of 0.4 m in the view with a point 0.33 to 2.73 m above
            the ground.
        thin: mean number of things of no class in the view up to 30 m that stand free, are at
            most 0.9 m wide and 0.9 to 1.4 m high.
        counts: number of objects of each class in the view, of five points at least.
        sizes: (3,3) 10, 50 and 90 % percentiles of length, width and height in metres, of each
            class; nan for a class without objects.
        returns: median of points times squared distance, in thousands of square metres.
        oblique: fraction of vehicles that stand 20 to 70 degrees off the axes of the sensor.
    """

    frames: int
    occupied: float
    thin: float
    counts: dict[str, int]
    sizes: dict[str, np.ndarray]
    returns: dict[str, float]
    oblique: float


def measure_streets(frames: Iterable[Frame]) -> StreetStatistics:
    """Computes the statistics of sweeps.

    Args:
        frames: labelled sweeps; not kept, so that a generator may simulate them.
    """
    occupied, thin, rows = [], [], []
    for frame in frames:
        occupied.append(occupied_cells(frame.points))
        thin.append(thin_things(frame))
        distance = np.hypot(frame.boxes[:, 0], frame.boxes[:, 1])
        seen = in_view(frame.boxes) & (frame.counts >= MIN_POINTS)
        returns = frame.counts * distance**2 / 1e3
        rows.append(np.column_stack([frame.labels, frame.boxes, returns])[seen])
    table = np.concatenate(rows) if rows else np.empty((0, 9))
    of_class = {kind: table[table[:, 0] == label] for label, kind in enumerate(CLASSES)}
    percents = [10, 50, 90]
    headings = off_axis(of_class['vehicle'][:, 7])
    return StreetStatistics(
        len(occupied),
        float(np.mean(occupied)) if occupied else np.nan,
        float(np.mean(thin)) if thin else np.nan,
        {kind: len(each) for kind, each in of_class.items()},
        {
            kind: np.percentile(each[:, 4:7], percents, axis=0)
            if len(each)
            else np.full((3, 3), np.nan)
            for kind, each in of_class.items()
        },
        {
            kind: float(np.median(each[:, 8])) if len(each) else np.nan
            for kind, each in of_class.items()
        },
        float(np.mean(headings > _OBLIQUE)) if len(headings) else np.nan,
    )


def off_axis(yaw: np.ndarray) -> np.ndarray:
    """Returns angles to the nearest axis in degrees, 0 to 45, of headings in radians."""
    return np.degrees(np.abs((yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4))


def in_view(positions: np.ndarray) -> np.ndarray:
    """Returns (N,) bool: true for (N,2+) positions in the view."""
    x, y = positions[:, 0], positions[:, 1]
    return (np.abs(np.arctan2(y, x)) < _HALF_VIEW) & (np.hypot(x, y) < _REACH)


def occupied_cells(points: np.ndarray) -> int:
    """Returns the number of cells in the view with points well above the ground."""
    height = points[:, 2] - _ground(points)
    chosen = in_view(points) & (height > _OCCUPIED[0]) & (height < _OCCUPIED[1])
    return len(np.unique(np.floor(points[chosen, :2] / _CELL), axis=0))


def thin_things(frame: Frame) -> int:
    """Returns the number of free-standing thin things in the view, without labelled objects."""
    points = frame.points[frame.instance_ids < 0]
    near = in_view(points) & (np.hypot(points[:, 0], points[:, 1]) < _THIN_REACH)
    points = points[near]
    col, row = np.floor(points[:, :2] / _THIN_CELL).astype(np.int64).T
    size = 2 * int(_THIN_REACH / _THIN_CELL) + 8
    cell = (row + size // 2) * size + col + 4
    low = np.full(size * size, np.inf)
    np.minimum.at(low, cell, points[:, 2])
    # Ground around each cell; a thing without ground near it is too far away to be judged.
    low = -_maximum(-low.reshape(size, size), 2)
    height = points[:, 2] - low.ravel()[cell]
    top, count = np.full(size * size, -np.inf), np.zeros(size * size)
    raised = height > _OCCUPIED[0]
    np.maximum.at(top, cell[raised], height[raised])
    np.add.at(count, cell[raised], 1)
    top, count = top.reshape(size, size), count.reshape(size, size)
    # Centres: the fullest cell of 3 x 3, around which a ring of empty cells lies.
    taken = count > 0
    around, within = _sum(taken, 2), _sum(taken, 1)
    centre = taken & (count == _maximum(count, 1)) & (around == within)
    tops = _maximum(top, 1)
    fits = (tops > _THIN_TOPS[0]) & (tops < _THIN_TOPS[1]) & (_sum(count, 1) >= MIN_POINTS)
    return int((centre & fits).sum())


def _ground(points: np.ndarray) -> float:
    """Returns the height of the ground before the sensor."""
    near = (np.abs(points[:, 1]) < 1.5) & (points[:, 0] > 4) & (points[:, 0] < 12)
    return float(np.median(points[near, 2])) if near.any() else 0.0


def _maximum(values: np.ndarray, reach: int) -> np.ndarray:
    return _windows(values, reach, -np.inf).max(axis=(2, 3))


def _sum(values: np.ndarray, reach: int) -> np.ndarray:
    return _windows(values.astype(np.float64), reach, 0.0).sum(axis=(2, 3))


def _windows(values: np.ndarray, reach: int, outside: float) -> np.ndarray:
    """Returns (H,W,K,K) windows around each cell of a map."""
    padded = np.pad(values, reach, constant_values=outside)
    side = 2 * reach + 1
    return np.lib.stride_tricks.sliding_window_view(padded, (side, side))


def statistics_table(columns: dict[str, StreetStatistics]) -> list[list[str]]:
    """Returns rows of text: a header, then one row for each statistic.

    Args:
        columns: statistics by the name of their set.
    """
    sets = list(columns.values())
    rows = [
        ['', *columns],
        ['sweeps', *(str(each.frames) for each in sets)],
        ['occupied cells in a view', *(f'{each.occupied:.0f}' for each in sets)],
        ['thin things of 0.9 to 1.4 m in a view', *(f'{each.thin:.1f}' for each in sets)],
        ['oblique vehicles', *(f'{each.oblique:.2f}' for each in sets)],
    ]
    for kind in CLASSES:
        rows.append([f'{kind}: number', *(str(each.counts[kind]) for each in sets)])
        for axis, side in enumerate(('length', 'width', 'height')):
            values = (each.sizes[kind][:, axis] for each in sets)
            rows.append(
                [
                    f'{kind}: {side} in m, median (10 %, 90 %)',
                    *(
                        '-' if np.isnan(mid) else f'{mid:.2f} ({low:.2f}, {high:.2f})'
                        for low, mid, high in values
                    ),
                ]
            )
        rows.append(
            [
                f'{kind}: points x range squared, 1000 m^2',
                *(
                    '-' if np.isnan(each.returns[kind]) else f'{each.returns[kind]:.0f}'
                    for each in sets
                ),
            ]
        )
    return rows


def format_table(rows: list[list[str]]) -> str:
    """Returns rows as text with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return '\n'.join(
        '  '.join(
            text.ljust(width) if index == 0 else text.rjust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
