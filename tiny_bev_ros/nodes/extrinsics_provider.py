# SPDX-License-Identifier: Apache-2.0
"""Where cameras are mounted: from parameters, else from TF where tf2_ros is installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rclpy.node import Node
from rclpy.time import Time
from torch import Tensor

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.camera.extrinsics import extrinsics_from_pose
from tiny_bev_ros.nodes.camera_parameters import EXTRINSICS
from tiny_bev_ros.optional_imports import import_optional
from tiny_bev_ros.runtime.staleness import Stamp, to_nanoseconds

# A buffer ignores what is older than its newest by more, even if a bag began again.
_KEPT_NS = 10 * 10**9


class ExtrinsicsProvider:
    """The `extrinsics` of each camera.

    Args:
        node: listens to TF, if a camera needs that.
        given: by camera; None for one that TF tells.
    """

    def __init__(self, node: Node, given: Mapping[str, Tensor | None]) -> None:
        self._given = given
        self._tf2: Any = None
        self._buffer: Any = None
        self._listener: Any = None
        self._why_not = ''
        self._newest_ns = 0
        if None not in given.values():
            return
        self._tf2, why_not = import_optional('tf2_ros')
        if self._tf2 is None:
            self._why_not = f'there is no TF ({why_not})'
            return
        self._buffer = self._tf2.Buffer()
        self._listener = self._tf2.TransformListener(self._buffer, node)

    def at(self, camera: str, map_frame: str, optical_frame: str, stamp: Stamp) -> Tensor:
        """(4,4), from the frame of the map to the optical one, when an image was taken.

        Where TF does not reach to that time its latest is taken, as of a camera that is fixed.

        Raises:
            TinyBevError: it is not known.
        """
        given = self._given[camera]
        if given is not None:
            return given
        wanted = f'expected that, or the parameter {EXTRINSICS}{camera}'
        if self._buffer is None:
            raise TinyBevError(f'{self._why_not}; {wanted}')
        try:
            transform = self._look_up(map_frame, optical_frame, stamp)
        except self._tf2.TransformException as error:
            reason = str(error).partition('\n')[0].strip()
            raise TinyBevError(
                f'TF has no {optical_frame!r} in {map_frame!r} ({reason}); {wanted}'
            ) from None
        at, turn = transform.translation, transform.rotation
        return extrinsics_from_pose((at.x, at.y, at.z, turn.x, turn.y, turn.z, turn.w))

    def destroy(self) -> None:
        """Ends listening."""
        if self._listener is not None:
            self._listener.unregister()

    def _look_up(self, map_frame: str, optical_frame: str, stamp: Stamp) -> Any:
        now_ns = to_nanoseconds(stamp)
        if 0 < now_ns < self._newest_ns - _KEPT_NS:
            self._buffer.clear()  # of all that moves; what is static stays
            self._newest_ns = now_ns
        self._newest_ns = max(self._newest_ns, now_ns)
        time = Time(nanoseconds=now_ns)
        try:
            found = self._buffer.lookup_transform(map_frame, optical_frame, time)
        except self._tf2.ExtrapolationException:
            found = self._buffer.lookup_transform(map_frame, optical_frame, Time())
        return found.transform
