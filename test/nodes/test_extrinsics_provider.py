# SPDX-License-Identifier: Apache-2.0
"""Poses from a stand-in of tf2_ros, which behaves as its Python module does."""

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
    """Knows `cam` in `lidar` at 5 s and, other than then, of late."""

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


def test_tf_is_asked_for_the_time_of_the_image_and_else_for_the_latest(tf2):
    mounts = ExtrinsicsProvider(NODE, {'front': None})
    assert len(LISTENING) == 1
    assert torch.equal(mounts.at('front', 'lidar', 'cam', (5, 6)), extrinsics_from_pose(AHEAD))
    assert torch.equal(mounts.at('front', 'lidar', 'cam', (7, 0)), extrinsics_from_pose(TURNED))
    mounts.destroy()
    assert not LISTENING


def test_what_moved_is_forgotten_when_a_bag_begins_again(tf2):
    """As tf2 would ignore all that is more than ten seconds older than what it has."""
    mounts = ExtrinsicsProvider(NODE, {'front': None})
    buffer = mounts._buffer
    cleared = []
    for second in (100, 91, 100, 89, 90, 99, 88, 0, 120, 5):
        mounts.at('front', 'lidar', 'cam', (second, 0))
        cleared.append(buffer.cleared)
    # A stamp of zero says no time.
    assert cleared == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
    mounts.destroy()


def test_what_tf_does_not_know_is_one_line(tf2):
    mounts = ExtrinsicsProvider(NODE, {'front': None})
    with pytest.raises(TinyBevError) as caught:
        mounts.at('front', 'lidar', 'nowhere', (5, 6))
    assert str(caught.value) == (
        "TF has no 'nowhere' in 'lidar' (\"nowhere\" does not exist.); "
        'expected that, or the parameter extrinsics.front'
    )
    mounts.destroy()


def test_a_pose_that_is_given_needs_no_tf(tf2):
    given = torch.tensor(IDENTITY_EXTRINSICS, dtype=torch.float64)
    mounts = ExtrinsicsProvider(NODE, {'front': given})
    assert not LISTENING
    assert mounts.at('front', 'any', 'frame', (0, 0)) is given
    mounts.destroy()


def test_without_tf_a_pose_must_be_given(no_tf2):
    mounts = ExtrinsicsProvider(NODE, {'front': None, 'left': extrinsics_from_pose(AHEAD)})
    assert torch.equal(mounts.at('left', 'lidar', 'cam', (5, 6)), extrinsics_from_pose(AHEAD))
    with pytest.raises(TinyBevError, match=r'there is no TF \(.*tf2_ros.*extrinsics\.front'):
        mounts.at('front', 'lidar', 'cam', (5, 6))
    mounts.destroy()
