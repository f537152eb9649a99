# SPDX-License-Identifier: Apache-2.0
"""A tally of the points of clouds: a map is empty, and right, when none of them is on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tiny_bev_ros.runtime.log_throttle import LogThrottle

if TYPE_CHECKING:
    from tiny_bev_ros.grid import BevGrid
    from tiny_bev_ros.messages.point_cloud import DecodedCloud

# With a smaller share of a cloud on the grid, frame or grid are taken for wrong.
_LEAST_SHARE = 0.01


class PointStats:
    """Counts the points of clouds and tells, each time that it begins, when they are lost.

    Args:
        logger: of the node.
        now_ns: of a monotonic clock.

    Attributes:
        dropped: points that were left out as they are not finite.
        empty: clouds without a point in the grid.
    """

    def __init__(self, logger: Any, now_ns: Callable[[], int]) -> None:
        self.dropped = self.empty = 0
        self._logger, self._now_ns = logger, now_ns
        self._clouds = self._few = self._lost = 0
        self._points, self._inside = 0, 0
        self._is_lost, self._outside = False, ''
        self._told = {'clouds': 0, 'empty': 0, 'few': 0, 'lost': 0}
        self._doubts: dict[str, str] = {}
        self._doubting: dict[str, LogThrottle] = {}
        self._dropping, self._piling = LogThrottle(now_ns), LogThrottle(now_ns)
        self._losing, self._missing = (
            LogThrottle(now_ns, again=True),
            LogThrottle(now_ns, again=True),
        )

    def read(self, cloud: DecodedCloud) -> None:
        """Counts a cloud that was decoded."""
        kept, dropped = len(cloud.points), cloud.dropped
        self.dropped += dropped
        self._is_lost = kept == 0 < dropped
        self._lost += self._is_lost
        if self._losing.is_due(self._is_lost):
            self._logger.warning(
                f'left out all {dropped} points of a cloud, as none is finite '
                f'({self._lost} such clouds so far)'
            )
        if self._dropping.is_due(dropped > 0 and not self._is_lost):
            self._logger.warning(
                f'left out {dropped} of {kept + dropped} points of a cloud, which are not finite '
                f'({self.dropped} so far)'
            )
        # A doubt begins with the field that it is about.
        doubts = {doubt.partition(' ')[0]: doubt for doubt in cloud.doubts}
        self._doubts |= doubts
        for field in {**self._doubting, **doubts}:
            notice = self._doubting.setdefault(field, LogThrottle(self._now_ns))
            if notice.is_due(field in doubts):
                self._logger.warning(f'of a cloud: {doubts[field]}')

    def place(self, points: np.ndarray, inside: int, pillars: int, grid: BevGrid) -> None:
        """Counts where the points of a cloud are.

        Args:
            points: (N, F) [x, y, z, ...], counted from the reference of the grid.
            inside: how many are in the grid.
            pillars: in how many cells.
            grid: of the map.
        """
        count = len(points)
        few = inside <= _LEAST_SHARE * count
        self._clouds += 1
        self._points, self._inside = count, inside
        self.empty += inside == 0
        self._few += few
        if self._missing.is_due(few and not self._is_lost):
            self._outside = _outside(points, inside, grid)
            self._logger.warning(self._outside)
        piled = inside == count > 1 and pillars == 1 and not np.ptp(points[:, :3], axis=0).any()
        if self._piling.is_due(piled):
            x, y, z = points[0, :3]
            self._logger.warning(f'all {count} points of a cloud are at x {x:g}, y {y:g}, z {z:g}')

    def pairs(self) -> dict[str, str]:
        """Keys and values of points for diagnostics."""
        pairs = {'points_not_finite': f'{self.dropped}'}
        if self._clouds:
            share = self._inside / self._points if self._points else 0.0
            pairs |= {
                'points_received': f'{self._points}',
                'points_in_grid_fraction': f'{share:.4f}',
                'clouds_outside_grid': f'{self.empty}',
                'last_outside_grid_warning': self._outside or 'none',
            }
        return pairs

    def warnings(self) -> Iterator[str]:
        """Lines on points that went wrong since the last call."""
        now = {'clouds': self._clouds, 'empty': self.empty, 'few': self._few, 'lost': self._lost}
        new = {name: count - self._told[name] for name, count in now.items()}
        self._told = now
        if new['lost']:
            yield f'no point of {new["lost"]} clouds is finite'
        elif new['empty']:
            yield f'{new["empty"]} of {new["clouds"]} clouds have no point in the grid'
        elif new['few']:
            yield (
                f'{new["few"]} of {new["clouds"]} clouds have at most {_LEAST_SHARE:.0%} of their '
                'points in the grid'
            )
        doubts, self._doubts = self._doubts, {}
        yield from doubts.values()


def _outside(points: np.ndarray, inside: int, grid: BevGrid) -> str:
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
