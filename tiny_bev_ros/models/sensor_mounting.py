# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Height and tilt of a sensor above the ground, estimated from one cloud."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

# Height in metres above the ground at which the networks expect the origin of a cloud.
NOMINAL_HEIGHT = 1.73

# Heights in metres and slopes (rise over run) among which the ground is searched.
_HEIGHTS, _MAX_SLOPE = (-0.5, 4.0), 0.19
# Distances in metres from the origin between which points are used, and the distance at which
# the weight of a point has fallen to a half.
_MIN_RANGE, _MAX_RANGE, _HALF_RANGE = 1.5, 25.0, 10.0
# About as many points are used, of cells of 1 m, and as many of the nearest cells in the search.
_POINTS, _SIDE, _SEARCHED = 12000, int(2 * _MAX_RANGE), 400
# Slope to which the votes for a plane fall off, with the square of its own.
_UNLIKELY_SLOPE = 0.3
# Number of planes that are tried, each through three cells.
_TRIALS = 200
# Distance in metres from the plane up to which the lowest point of a cell supports it in the
# search, points are of the ground in the fit, and points lie close above the ground.
_SEARCH_BAND, _BAND, _ABOVE = 0.2, 0.15, 1.0
# Standard deviation in metres of a cell's mean from the plane, of slopes before a fit, and the
# largest one of the height after it.
_CELL_SIGMA, _SLOPE_SIGMA, _MAX_HEIGHT_SIGMA = 0.15, 0.06, 0.15
# Fewest cells of ground, and their least ratio to cells with more points just above the plane,
# or with points below it.
_MIN_CELLS, _MIN_RATIO = 40, 0.6


@dataclass(frozen=True)
class MountingEstimate:
    """Height and tilt of a sensor above the ground.

    Attributes:
        height: distance of the origin of the cloud from the ground plane, in metres.
        pitch: angle in radians, positive with the nose down (REP-103).
        roll: angle in radians, positive with the left side up (REP-103).
        support: number of square metres in which points of the ground were found.
    """

    height: float
    pitch: float
    roll: float
    support: int = 0

    @property
    def tilt(self) -> float:
        """Angle between the z axis of the cloud and the normal of the ground, in radians."""
        return math.acos(min(1.0, math.cos(self.pitch) * math.cos(self.roll)))

    @property
    def rotation(self) -> np.ndarray:
        """(3,3) float64 rotation from the axes of the cloud to level ones of the same heading."""
        cp, sp = math.cos(self.pitch), math.sin(self.pitch)
        cr, sr = math.cos(self.roll), math.sin(self.roll)
        return np.array([[cp, sp * sr, sp * cr], [0.0, cr, -sr], [-sp, cp * sr, cp * cr]])


def estimate_mounting(points: np.ndarray) -> MountingEstimate | None:
    """Estimates height and tilt of a sensor from the ground around it.

    A plane is searched through the lowest points of cells by RANSAC (Fischler and Bolles, 1981),
    and fitted to all points near it by iteratively reweighted least squares. Ground is a layer:
    most of its cells have more points on the plane than just above it, and none below. Slopes
    that the points do not determine are near 0. The random numbers are the same in each call.

    Args:
        points: (N,3+) float32 x, y, z in metres, finite; z upward within 8 degrees, the origin
            on the ground to 3 m above it.

    Returns:
        The estimate; None where no ground supports one.
    """
    x, y, z, cell = _near_points(points)
    if len(z) < _MIN_CELLS:
        return None
    plane = _search(z, cell)
    if plane is None:
        return None
    for band in (2 * _BAND, _BAND, _BAND):
        offset = z - (plane[0] + plane[1] * x + plane[2] * y)
        ground = np.abs(offset) < band
        fit = _fit(x[ground], y[ground], z[ground], cell[ground], plane)
        if fit is None:
            return None
        plane, sigma = fit
    slope_x, slope_y = plane[1:]
    offset = z - (plane[0] + slope_x * x + slope_y * y)
    support = _support(offset, cell)
    if not support or sigma > _MAX_HEIGHT_SIGMA or math.hypot(slope_x, slope_y) > _MAX_SLOPE:
        return None
    norm = math.sqrt(1 + slope_x**2 + slope_y**2)
    height = -plane[0] / norm
    if not _HEIGHTS[0] <= height <= _HEIGHTS[1]:
        return None
    pitch, roll = math.asin(slope_x / norm), math.atan(-slope_y)
    return MountingEstimate(float(height), pitch, roll, support)


def _near_points(
    points: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns x, y, z and cells of some of the points around the origin, as (P,) arrays."""
    # An odd step takes points of every beam, as the number of beams is mostly a power of two.
    some = points[:: (len(points) // _POINTS) | 1]
    x, y, z = some[:, 0], some[:, 1], some[:, 2]
    squared = x * x + y * y
    near = np.flatnonzero((squared > _MIN_RANGE**2) & (squared < _MAX_RANGE**2))
    x, y, z = x[near], y[near], z[near]
    cell = (x + _MAX_RANGE).astype(np.int64) * _SIDE + (y + _MAX_RANGE).astype(np.int64)
    return x, y, z, cell


def _search(z: np.ndarray, cell: np.ndarray) -> np.ndarray | None:
    """Returns (3,) height at the origin and slopes of the best plane; None without any."""
    lowest = np.full(_SIDE * _SIDE, np.inf, np.float32)
    np.minimum.at(lowest, cell, z)
    occupied = np.flatnonzero(lowest < np.inf)
    x, y = occupied // _SIDE - (_MAX_RANGE - 0.5), occupied % _SIDE - (_MAX_RANGE - 0.5)
    squared = x * x + y * y
    nearest = np.argsort(squared, kind='stable')[:_SEARCHED]
    x, y, low = x[nearest], y[nearest], lowest[occupied[nearest]].astype(np.float64)
    weight = 1 / (1 + squared[nearest] / _HALF_RANGE**2)
    draws = np.random.default_rng(0).random((3, _TRIALS))
    first, second, third = (draws * len(low)).astype(np.int64)
    # Two edges of each triangle give its slopes.
    x1, y1, z1 = x[second] - x[first], y[second] - y[first], low[second] - low[first]
    x2, y2, z2 = x[third] - x[first], y[third] - y[first], low[third] - low[first]
    area = x1 * y2 - x2 * y1
    sound = np.abs(area) > 8.0
    area = np.where(sound, area, 1.0)
    slope_x, slope_y = (z1 * y2 - z2 * y1) / area, (x1 * z2 - x2 * z1) / area
    at_origin = low[first] - slope_x * x[first] - slope_y * y[first]
    sound &= slope_x**2 + slope_y**2 < _MAX_SLOPE**2
    sound &= (-at_origin > _HEIGHTS[0]) & (-at_origin < _HEIGHTS[1])
    planes = np.stack([at_origin, slope_x, slope_y], axis=1)[sound]
    if not len(planes):
        return None
    offset = low - planes @ np.stack([np.ones(len(x)), x, y])
    votes = np.maximum(1 - np.abs(offset) / _SEARCH_BAND, 0) - (offset < -2 * _SEARCH_BAND)
    level = 1 - (planes[:, 1] ** 2 + planes[:, 2] ** 2) / _UNLIKELY_SLOPE**2
    best: np.ndarray = planes[np.argmax((votes @ weight) * level)]
    return best


def _fit(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, cell: np.ndarray, plane: np.ndarray
) -> tuple[np.ndarray, float] | None:
    """Fits a plane to the means of cells, near cells most.

    Returns:
        (3,) plane as of `_search`, and standard deviation of its height at the origin, in
        metres; None for too few cells.
    """
    size = _SIDE * _SIDE
    count = np.bincount(cell, minlength=size)
    filled = np.flatnonzero(count)
    if len(filled) < _MIN_CELLS:
        return None
    mean_x, mean_y, mean_z = (
        np.bincount(cell, values, size)[filled] / count[filled] for values in (x, y, z)
    )
    near = 1 / (1 + (mean_x**2 + mean_y**2) / _HALF_RANGE**2)
    design = np.stack([np.ones(len(filled)), mean_x, mean_y], axis=1)
    prior = np.diag([0.0, 1 / _SLOPE_SIGMA**2, 1 / _SLOPE_SIGMA**2])
    for _ in range(3):
        residual = (mean_z - design @ plane) / _BAND
        weight = near / (1 + (2 * residual) ** 2) ** 2 / _CELL_SIGMA**2
        weighted = design * weight[:, None]
        normal = weighted.T @ design + prior
        plane = np.linalg.solve(normal, weighted.T @ mean_z)
    return plane, math.sqrt(np.linalg.inv(normal)[0, 0])


def _support(offset: np.ndarray, cell: np.ndarray) -> int:
    """Returns the number of cells of ground; 0 if other cells contradict it.

    Args:
        offset: (P,) heights of points above the plane, in metres.
        cell: (P,) their cells.
    """
    size = _SIDE * _SIDE
    counts = (
        np.bincount(cell[chosen], minlength=size)
        for chosen in (
            np.abs(offset) < _BAND,
            (offset >= _BAND) & (offset < _ABOVE),
            offset < -2 * _BAND,
        )
    )
    on, above, below = counts
    ground = (on > 2 * above) & (on > below)
    if ground.sum() < _MIN_CELLS:
        return 0
    cells = np.arange(size)
    x, y = cells // _SIDE - (_MAX_RANGE - 0.5), cells % _SIDE - (_MAX_RANGE - 0.5)
    weight = 1 / (1 + (x * x + y * y) / _HALF_RANGE**2)
    against = max(weight[(above > 0) & (on <= 2 * above)].sum(), weight[below > on].sum())
    return int(ground.sum()) if weight[ground].sum() >= _MIN_RATIO * against else 0
