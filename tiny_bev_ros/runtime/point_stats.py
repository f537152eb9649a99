# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Statistics of points: BEV features of a cloud without points in the grid are valid but empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tiny_bev_ros.runtime.log_throttle import LogThrottle

if TYPE_CHECKING:
    from tiny_bev_ros.grid import BevGrid
    from tiny_bev_ros.messages.point_cloud import DecodedCloud

# With a smaller fraction of a cloud in the grid, its frame or the grid is considered wrong.
_MIN_FRACTION = 0.01


class PointStats:
    """Counts the points of clouds, and logs each time that clouds begin to lose them.

    Args:
        logger: logger of the node.
        now_ns: monotonic clock in ns.

    Attributes:
        dropped: number of points dropped because they are not finite.
        empty: number of clouds without a point in the grid.
        own: number of points of the last cloud that were left out as the robot's own.
        around_sensor: number of objects of the last cloud that were left out as the vehicle that
            carries the sensor.
        mounting: keys and values of the sensor's mounting, for diagnostics.
    """

    def __init__(self, logger: Any, now_ns: Callable[[], int]) -> None:
        self.dropped = self.empty = self.own = self.around_sensor = 0
        self.mounting: dict[str, str] = {}
        self._logger, self._now_ns = logger, now_ns
        self._clouds = self._few = self._lost = 0
        self._points, self._inside = 0, 0
        self._is_lost, self._outside = False, ''
        self._reported = {'clouds': 0, 'empty': 0, 'few': 0, 'lost': 0}
        self._notes: dict[str, str] = {}
        self._note_throttles: dict[str, LogThrottle] = {}
        self._drop_throttle, self._pile_throttle = LogThrottle(now_ns), LogThrottle(now_ns)
        self._lost_throttle = LogThrottle(now_ns, repeat=True)
        self._outside_throttle = LogThrottle(now_ns, repeat=True)

    def count_decoded(self, cloud: DecodedCloud) -> None:
        """Counts the points of a decoded cloud, and logs the wrong statements of its message."""
        kept, dropped = len(cloud.points), cloud.dropped
        self.dropped += dropped
        self._is_lost = kept == 0 < dropped
        self._lost += self._is_lost
        if self._lost_throttle.should_log(self._is_lost):
            self._logger.warning(
                f'points: dropped all {dropped} points of a cloud, none of which is finite '
                f'({self._lost} such clouds so far)'
            )
        if self._drop_throttle.should_log(dropped > 0 and not self._is_lost):
            self._logger.warning(
                f'points: dropped {dropped} of {kept + dropped} points of a cloud, which are not '
                f'finite ({self.dropped} so far)'
            )
        # A note begins with the name of its field.
        notes = {note.partition(' ')[0]: note for note in cloud.notes}
        self._notes |= notes
        for field in {**self._note_throttles, **notes}:
            throttle = self._note_throttles.setdefault(field, LogThrottle(self._now_ns))
            if throttle.should_log(field in notes):
                self._logger.warning(f'points: {notes[field]}')

    def count_in_grid(self, points: np.ndarray, inside: int, pillars: int, grid: BevGrid) -> None:
        """Counts the points of a cloud that are in the grid.

        Args:
            points: (N, F) [x, y, z, ...] in metres, relative to the reference of the grid.
            inside: number of points in the grid.
            pillars: number of cells with points.
            grid: grid of the BEV features.
        """
        count = len(points)
        few = inside <= _MIN_FRACTION * count
        self._clouds += 1
        self._points, self._inside = count, inside
        self.empty += inside == 0
        self._few += few
        if self._outside_throttle.should_log(few and not self._is_lost):
            self._outside = _outside_text(points, inside, grid)
            self._logger.warning(f'points: {self._outside}')
        piled = inside == count > 1 and pillars == 1 and not np.ptp(points[:, :3], axis=0).any()
        if self._pile_throttle.should_log(piled):
            x, y, z = points[0, :3]
            self._logger.warning(
                f'points: all {count} points of a cloud are at x {x:g}, y {y:g}, z {z:g}'
            )

    def pairs(self) -> dict[str, str]:
        """Returns keys and values for diagnostics."""
        pairs = {'points_not_finite': f'{self.dropped}'}
        if self._clouds:
            fraction = self._inside / self._points if self._points else 0.0
            pairs |= {
                'points_received': f'{self._points}',
                'points_in_grid_fraction': f'{fraction:.4f}',
                'clouds_outside_grid': f'{self.empty}',
                'points_in_self_box': f'{self.own}',
                'objects_around_sensor': f'{self.around_sensor}',
                'last_outside_grid_warning': self._outside or 'none',
            }
        return pairs | self.mounting

    def warnings(self) -> Iterator[str]:
        """Yields one line per problem of points since the last call."""
        now = {'clouds': self._clouds, 'empty': self.empty, 'few': self._few, 'lost': self._lost}
        new = {name: count - self._reported[name] for name, count in now.items()}
        self._reported = now
        if new['lost']:
            yield f'no point of {new["lost"]} clouds is finite'
        elif new['empty']:
            yield f'{new["empty"]} of {new["clouds"]} clouds have no point in the grid'
        elif new['few']:
            yield (
                f'{new["few"]} of {new["clouds"]} clouds have at most {_MIN_FRACTION:.0%} '
                'of their points in the grid'
            )
        notes, self._notes = self._notes, {}
        yield from notes.values()


def _outside_text(points: np.ndarray, inside: int, grid: BevGrid) -> str:
    expected = _extents(grid.x_range, grid.y_range, grid.z_range)
    if not len(points):
        return f'a cloud has no points; expected some in the grid: {expected}'
    origin = np.array([*grid.reference, 0.0])
    low, high = points[:, :3].min(axis=0) + origin, points[:, :3].max(axis=0) + origin
    return (
        f'{inside or "none"} of the {len(points)} points of a cloud are in the grid: they are in '
        f'{_extents(*zip(low, high, strict=True))}; expected {expected}'
    )


def _extents(*ranges: tuple[float, float]) -> str:
    return (
        ', '.join(
            f'{axis} [{low:g}, {high:g}]' for axis, (low, high) in zip('xyz', ranges, strict=True)
        )
        + ' m'
    )
