# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Simulated LiDAR that scans along the directions of recorded points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.sim import Lidar
from tiny_bev_ros.training.labelled_frame import is_whole

# Points nearer than this, in metres, lie on the vehicle of the sensor.
_LEAST_RANGE = 0.5
# Number of clouds whose directions are kept, and side in degrees of the cells in which a cloud
# without any return is completed.
_CLOUDS, _CELL = 50, 3.0


@dataclass(frozen=True)
class RecordedPattern:
    """Scan pattern: the directions of the points of one recorded cloud.

    Rays without a return are absent from a recording. So directions of a second cloud are added
    in those cells of 3 by 3 degrees where the first has none.

    Attributes:
        directions: (N,2) float32 azimuth and elevation in degrees for each cloud.
    """

    directions: Sequence[np.ndarray]

    def __call__(self, random: np.random.Generator) -> np.ndarray:
        """Returns (N,2) azimuths and elevations of the rays of a frame."""
        first, second = (self.directions[index] for index in self._draw(random))
        added = ~np.isin(_cells(second), _cells(first))
        return np.concatenate([first, second[added]]).astype(np.float64)

    def _draw(self, random: np.random.Generator) -> list[int]:
        return [int(random.integers(len(self.directions))) for _ in range(2)]


def recorded_lidar(clouds: Sequence[np.ndarray]) -> Lidar:
    """Returns a LiDAR with the scan pattern and the range of a recording.

    Args:
        clouds: (N,3+) float32 points of each cloud, in the frame of the sensor.

    Raises:
        TinyBevError: there are no clouds, or none has points.
    """
    chosen = [clouds[index] for index in _spread(len(clouds))]
    points = [cloud[np.linalg.norm(cloud[:, :3], axis=1) > _LEAST_RANGE] for cloud in chosen]
    points = [cloud[:, :3] for cloud in points if len(cloud)]
    if not points:
        raise TinyBevError(f'points are 0 in {len(chosen)} clouds; expected clouds with points')
    farthest = max(float(np.linalg.norm(cloud, axis=1).max()) for cloud in points)
    return Lidar(
        min_range=_LEAST_RANGE,
        max_range=farthest,
        dropout=0.0,  # lost returns are absent from the pattern already
        pattern=RecordedPattern([_directions(cloud) for cloud in points]),
        around=is_whole(points[0]),
    )


def _spread(count: int) -> list[int]:
    kept = min(count, _CLOUDS)
    return [index * count // kept for index in range(kept)]


def _directions(points: np.ndarray) -> np.ndarray:
    x, y, z = points.T
    angles = np.stack([np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))], axis=1)
    return np.degrees(angles).astype(np.float32)


def _cells(directions: np.ndarray) -> np.ndarray:
    cells = np.floor(directions / _CELL).astype(np.int64)
    return cells[:, 0] * 1000 + cells[:, 1]
