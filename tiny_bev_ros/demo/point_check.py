# SPDX-License-Identifier: Apache-2.0
"""Tells in the demos whether the points of clouds were on the map at all."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from tiny_bev_ros.errors import TinyBevError

# A node tells how it is once a second.
_STATUS_S = 3.0
_EMPTY, _OUTSIDE = 'clouds_outside_grid', 'last_outside_grid_warning'
_LABEL = 'clouds without a point in the grid'
_CLOSE_M = 8.0


class PointStatus:
    """Asks the diagnostics of the node that gets the clouds.

    Args:
        probe: node of a demo, in the namespace of the other one.
    """

    def __init__(self, probe: Node) -> None:
        self._probe = probe
        self._told: dict[str, str] = {}
        probe.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)

    def ask(self, check: Callable[[], None]) -> dict[str, str]:
        """The next diagnostics of the node, by key; empty if none come.

        Args:
            check: is called meanwhile; raises when the node has ended.
        """
        self._told = {}
        end = time.monotonic() + _STATUS_S
        while not self._told and time.monotonic() < end:
            check()
            rclpy.spin_once(self._probe, timeout_sec=0.2)
        return self._told

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        own = self._probe.get_namespace().lstrip('/')
        for status in message.status:
            pairs = {each.key: each.value for each in status.values}
            if status.name.startswith(f'{own}/') and _EMPTY in pairs:
                self._told = pairs


def row(told: dict[str, str]) -> tuple[str, str]:
    """The line of a table that says how many clouds were off the map."""
    if _EMPTY not in told:
        return _LABEL, 'not known'
    return _LABEL, f'{told[_EMPTY]} of {told["published"]}, with those that warmed up'


def check_points(told: dict[str, str]) -> None:
    """Raises TinyBevError where diagnostics say that no cloud had a point in the grid."""
    if 0 < int(told.get('published', 0)) <= int(told.get(_EMPTY, 0)):
        raise TinyBevError(f'no cloud has a point in the grid: {told[_OUTSIDE]}')


def hint(points: np.ndarray, grid: str) -> str:
    """A line about the last cloud, or ''; the grid is the preset that was asked for."""
    if not len(points):
        return 'the last cloud has no usable point'
    if np.ptp(points[:, :2], axis=0).max() < _CLOSE_M and not grid:
        return f'the cloud is less than {_CLOSE_M:g} m wide: GRID=close shows more of it'
    return ''
