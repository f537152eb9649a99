# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Check of the demos that clouds have points in the grid."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from tiny_bev_ros.errors import TinyBevError

# Nodes publish diagnostics once a second.
_STATUS_S = 3.0
_EMPTY, _OUTSIDE = 'clouds_outside_grid', 'last_outside_grid_warning'
_LABEL = 'clouds without a point in the grid'
_CLOSE_M = 8.0


class PointStatus:
    """Subscriber of the diagnostics of the node that receives the clouds.

    Args:
        probe: node of the demo, in the same namespace.
    """

    def __init__(self, probe: Node) -> None:
        self._probe = probe
        self._values: dict[str, str] = {}
        probe.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)

    def ask(self, check: Callable[[], None]) -> dict[str, str]:
        """Returns the next diagnostics of the node by key; empty if none arrive.

        Args:
            check: called while waiting; raises when the node has ended.
        """
        self._values = {}
        end = time.monotonic() + _STATUS_S
        while not self._values and time.monotonic() < end:
            check()
            rclpy.spin_once(self._probe, timeout_sec=0.2)
        return self._values

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        own = self._probe.get_namespace().lstrip('/')
        for status in message.status:
            pairs = {each.key: each.value for each in status.values}
            if status.name.startswith(f'{own}/') and _EMPTY in pairs:
                self._values = pairs


def row(values: dict[str, str]) -> tuple[str, str]:
    """Returns the row of a table with the number of clouds outside the grid."""
    if _EMPTY not in values:
        return _LABEL, 'unknown'
    return _LABEL, f'{values[_EMPTY]} of {values["published"]}, warm-up included'


def check_points(values: dict[str, str]) -> None:
    """Raises TinyBevError where no cloud had a point in the grid."""
    if 0 < int(values.get('published', 0)) <= int(values.get(_EMPTY, 0)):
        raise TinyBevError(f'no cloud has a point in the grid: {values[_OUTSIDE]}')


def hint(points: np.ndarray, grid: str) -> str:
    """Returns a hint about the last cloud, or ''; ``grid`` is the given preset."""
    if not len(points):
        return 'the last cloud has no usable point'
    if np.ptp(points[:, :2], axis=0).max() < _CLOSE_M and not grid:
        return f'the cloud is less than {_CLOSE_M:g} m wide: GRID=close shows more of it'
    return ''
