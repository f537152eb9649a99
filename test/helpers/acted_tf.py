# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Stand-in of tf2_ros that behaves as the real one."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from rclpy.time import Time

# Translation in metres and rotation: x, y, z, qx, qy, qz, qw.
Pose = tuple[float, float, float, float, float, float, float]


class TransformError(Exception):
    pass


class ExtrapolationError(TransformError):
    pass


def act_tf(
    monkeypatch: pytest.MonkeyPatch, pose: Callable[[str, str, Time], Pose | None]
) -> list[Any]:
    """Puts the stand-in in place of tf2_ros; returns the list of present listeners.

    Args:
        monkeypatch: fixture of the test.
        pose: function from target, source and time to the pose of the source in the target; None
            for a frame that does not exist.
    """
    listeners: list[Any] = []

    class Buffer:
        cleared = 0

        def clear(self) -> None:
            self.cleared += 1

        def lookup_transform(self, target: str, source: str, time: Time) -> TransformStamped:
            found = pose(target, source, time)
            if found is None:
                raise TransformError(f'"{source}" does not exist. \nsecond line')
            at, turn = Vector3(x=found[0], y=found[1], z=found[2]), Quaternion()
            turn.x, turn.y, turn.z, turn.w = found[3:]
            return TransformStamped(transform=Transform(translation=at, rotation=turn))

    class Listener:
        def __init__(self, buffer: Buffer, node: Any) -> None:
            assert isinstance(buffer, Buffer)
            self.node = node
            listeners.append(self)

        def unregister(self) -> None:
            listeners.remove(self)

    module: Any = types.ModuleType('tf2_ros')
    module.Buffer, module.TransformListener = Buffer, Listener
    module.TransformException = TransformError
    module.ExtrapolationException = ExtrapolationError
    monkeypatch.setitem(sys.modules, 'tf2_ros', module)
    return listeners
