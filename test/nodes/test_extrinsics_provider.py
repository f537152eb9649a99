# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Extrinsics from parameters, and from a stand-in of tf2_ros that behaves as the real one."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
import torch
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from rclpy.time import Time

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.camera.extrinsics import IDENTITY_EXTRINSICS, extrinsics_from_pose
from tiny_bev_ros.nodes.extrinsics_provider import ExtrinsicsProvider

AHEAD = (0.3, 0.0, -0.1, -0.5, 0.5, -0.5, 0.5)
TURNED = (0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
NODE: Any = object()


def transform_of(pose: tuple[float, ...]) -> TransformStamped:
    at, turn = Vector3(x=pose[0], y=pose[1], z=pose[2]), Quaternion()
    turn.x, turn.y, turn.z, turn.w = pose[3:]
    return TransformStamped(transform=Transform(translation=at, rotation=turn))


class TransformError(Exception):
    pass


class ExtrapolationError(TransformError):
    pass


class Buffer:
    """TF buffer that knows `cam` in `lidar` at 5 s, and another latest transform."""

    cleared = 0

    def clear(self) -> None:
        self.cleared += 1

    def lookup_transform(self, target: str, source: str, time: Time) -> TransformStamped:
        if (target, source) != ('lidar', 'cam'):
            raise TransformError(f'"{source}" does not exist. \nsecond line')
        if time.nanoseconds == 5 * 10**9 + 6:
            return transform_of(AHEAD)
        if time.nanoseconds == 0:
            return transform_of(TURNED)
        raise ExtrapolationError('would require extrapolation into the future')


class Listener:
    def __init__(self, buffer: Buffer, node: Any) -> None:
        assert isinstance(buffer, Buffer)
        assert node is NODE
        LISTENING.append(self)

    def unregister(self) -> None:
        LISTENING.remove(self)


LISTENING: list[Listener] = []


@pytest.fixture
def tf2(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = types.ModuleType('tf2_ros')
    module.Buffer, module.TransformListener = Buffer, Listener
    module.TransformException = TransformError
    module.ExtrapolationException = ExtrapolationError
    monkeypatch.setitem(sys.modules, 'tf2_ros', module)


@pytest.fixture
def no_tf2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'tf2_ros', None)


def test_tf_gives_the_transform_of_the_stamp_or_else_the_latest(tf2):
    provider = ExtrinsicsProvider(NODE, {'front': None})
    assert len(LISTENING) == 1
    assert torch.equal(
        provider.lookup('front', 'lidar', 'cam', (5, 6)), extrinsics_from_pose(AHEAD)
    )
    assert torch.equal(
        provider.lookup('front', 'lidar', 'cam', (7, 0)), extrinsics_from_pose(TURNED)
    )
    provider.destroy()
    assert not LISTENING


def test_moving_transforms_are_dropped_when_a_bag_begins_again(tf2):
    """TF would ignore transforms more than ten seconds older than its newest."""
    provider = ExtrinsicsProvider(NODE, {'front': None})
    buffer = provider._tf._buffer
    cleared = []
    for second in (100, 91, 100, 89, 90, 99, 88, 0, 120, 5):
        provider.lookup('front', 'lidar', 'cam', (second, 0))
        cleared.append(buffer.cleared)
    # A stamp of zero names no time.
    assert cleared == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
    provider.destroy()


def test_an_unknown_frame_is_an_error_of_one_line(tf2):
    provider = ExtrinsicsProvider(NODE, {'front': None})
    with pytest.raises(TinyBevError) as caught:
        provider.lookup('front', 'lidar', 'nowhere', (5, 6))
    assert str(caught.value) == (
        "TF has no 'nowhere' in 'lidar' (\"nowhere\" does not exist.); "
        'expected a transform, or the parameter extrinsics.front'
    )
    provider.destroy()


def test_a_pose_that_is_given_needs_no_tf(tf2):
    given = torch.tensor(IDENTITY_EXTRINSICS, dtype=torch.float64)
    provider = ExtrinsicsProvider(NODE, {'front': given})
    assert not LISTENING
    assert provider.lookup('front', 'any', 'frame', (0, 0)) is given
    provider.destroy()


def test_without_tf_a_pose_must_be_given(no_tf2):
    provider = ExtrinsicsProvider(NODE, {'front': None, 'left': extrinsics_from_pose(AHEAD)})
    assert torch.equal(
        provider.lookup('left', 'lidar', 'cam', (5, 6)), extrinsics_from_pose(AHEAD)
    )
    with pytest.raises(TinyBevError, match=r'there is no TF \(.*tf2_ros.*extrinsics\.front'):
        provider.lookup('front', 'lidar', 'cam', (5, 6))
    provider.destroy()
