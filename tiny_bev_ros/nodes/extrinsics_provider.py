# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Extrinsics of cameras: from parameters, else from TF where tf2_ros is installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rclpy.node import Node
from rclpy.time import Time
from torch import Tensor

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.message_fields import Stamp
from tiny_bev_ros.models.camera.extrinsics import extrinsics_from_pose
from tiny_bev_ros.nodes.camera_parameters import EXTRINSICS
from tiny_bev_ros.optional_imports import import_optional
from tiny_bev_ros.runtime.staleness import to_nanoseconds

# A TF buffer ignores transforms older than its newest by more, even if a bag began again.
_BUFFER_NS = 10 * 10**9


class ExtrinsicsProvider:
    """Provides the extrinsics of each camera, and listens to TF if a camera needs that.

    Args:
        node: node that listens to TF.
        given: extrinsics by camera; None for one that takes them from TF.
    """

    def __init__(self, node: Node, given: Mapping[str, Tensor | None]) -> None:
        self._given = given
        self._tf2: Any = None
        self._buffer: Any = None
        self._listener: Any = None
        self._missing_reason = ''
        self._newest_ns = 0
        if None not in given.values():
            return
        self._tf2, why_not = import_optional('tf2_ros')
        if self._tf2 is None:
            self._missing_reason = f'there is no TF ({why_not})'
            return
        self._buffer = self._tf2.Buffer()
        self._listener = self._tf2.TransformListener(self._buffer, node)

    def lookup(self, camera: str, map_frame: str, optical_frame: str, stamp: Stamp) -> Tensor:
        """Returns the transform (4,4) from the map frame to the optical frame at a stamp.

        Where TF has no transform at the stamp, its latest one is used, which is right for a fixed
        camera.

        Raises:
            TinyBevError: the transform is unknown.
        """
        given = self._given[camera]
        if given is not None:
            return given
        expected = f'expected a transform, or the parameter {EXTRINSICS}{camera}'
        if self._buffer is None:
            raise TinyBevError(f'{self._missing_reason}; {expected}')
        try:
            transform = self._look_up(map_frame, optical_frame, stamp)
        except self._tf2.TransformException as error:
            reason = str(error).partition('\n')[0].strip()
            raise TinyBevError(
                f'TF has no {optical_frame!r} in {map_frame!r} ({reason}); {expected}'
            ) from None
        position, rotation = transform.translation, transform.rotation
        return extrinsics_from_pose(
            (position.x, position.y, position.z, rotation.x, rotation.y, rotation.z, rotation.w)
        )

    def destroy(self) -> None:
        """Ends the TF listener."""
        if self._listener is not None:
            self._listener.unregister()

    def _look_up(self, map_frame: str, optical_frame: str, stamp: Stamp) -> Any:
        stamp_ns = to_nanoseconds(stamp)
        if 0 < stamp_ns < self._newest_ns - _BUFFER_NS:
            self._buffer.clear()  # drops moving transforms; static ones stay
            self._newest_ns = stamp_ns
        self._newest_ns = max(self._newest_ns, stamp_ns)
        time = Time(nanoseconds=stamp_ns)
        try:
            found = self._buffer.lookup_transform(map_frame, optical_frame, time)
        except self._tf2.ExtrapolationException:
            found = self._buffer.lookup_transform(map_frame, optical_frame, Time())
        return found.transform
