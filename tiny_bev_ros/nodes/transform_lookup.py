# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Looks up transforms in TF, where that is installed."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.time import Time

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.message_fields import Stamp
from tiny_bev_ros.optional_imports import import_optional
from tiny_bev_ros.runtime.staleness import to_nanoseconds

# A TF buffer ignores transforms older than its newest by more, even if a bag began again.
_BUFFER_NS = 10 * 10**9


class TransformLookup:
    """Listens to TF, if tf2_ros is installed.

    Args:
        node: node that listens.
    """

    def __init__(self, node: Node) -> None:
        self._buffer: Any = None
        self._listener: Any = None
        self._missing_reason = ''
        self._newest_ns = 0
        self._tf2, why_not = import_optional('tf2_ros')
        if self._tf2 is None:
            self._missing_reason = f'there is no TF ({why_not})'
            return
        self._buffer = self._tf2.Buffer()
        self._listener = self._tf2.TransformListener(self._buffer, node)

    def pose(self, target: str, source: str, stamp: Stamp, expected: str) -> tuple[float, ...]:
        """Returns x, y, z, qx, qy, qz, qw of a source frame in a target frame at a stamp.

        Where TF has no transform at the stamp, its latest one is used, which is right for frames
        that are fixed to each other.

        Args:
            target: frame in which the pose is given.
            source: frame that has the pose.
            stamp: (sec, nanosec).
            expected: end of error messages, such as a remedy.

        Raises:
            TinyBevError: the transform is unknown.
        """
        if self._buffer is None:
            raise TinyBevError(f'{self._missing_reason}; {expected}')
        try:
            transform = self._look_up(target, source, stamp)
        except self._tf2.TransformException as error:
            reason = str(error).partition('\n')[0].strip()
            raise TinyBevError(
                f'TF has no {source!r} in {target!r} ({reason}); {expected}'
            ) from None
        position, rotation = transform.translation, transform.rotation
        return (
            position.x, position.y, position.z, rotation.x, rotation.y, rotation.z, rotation.w
        )  # fmt: skip

    def destroy(self) -> None:
        """Ends the TF listener."""
        if self._listener is not None:
            self._listener.unregister()

    def _look_up(self, target: str, source: str, stamp: Stamp) -> Any:
        stamp_ns = to_nanoseconds(stamp)
        if 0 < stamp_ns < self._newest_ns - _BUFFER_NS:
            self._buffer.clear()  # drops moving transforms; static ones stay
            self._newest_ns = stamp_ns
        self._newest_ns = max(self._newest_ns, stamp_ns)
        time = Time(nanoseconds=stamp_ns)
        try:
            found = self._buffer.lookup_transform(target, source, time)
        except self._tf2.ExtrapolationException:
            found = self._buffer.lookup_transform(target, source, Time())
        return found.transform
