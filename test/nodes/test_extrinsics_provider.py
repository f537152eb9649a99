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
from typing import Any

import pytest
import torch
from acted_tf import ExtrapolationError, Pose, act_tf
from rclpy.time import Time

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.camera.extrinsics import IDENTITY_EXTRINSICS, extrinsics_from_pose
from tiny_bev_ros.nodes.extrinsics_provider import ExtrinsicsProvider

AHEAD = (0.3, 0.0, -0.1, -0.5, 0.5, -0.5, 0.5)
TURNED = (0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
NODE: Any = object()


def pose_of_camera(target: str, source: str, time: Time) -> Pose | None:
    """Knows `cam` in `lidar` at 5 s, and another latest transform."""
    if (target, source) != ('lidar', 'cam'):
        return None
    if time.nanoseconds == 5 * 10**9 + 6:
        return AHEAD
    if time.nanoseconds == 0:
        return TURNED
    raise ExtrapolationError('would require extrapolation into the future')


@pytest.fixture
def tf2(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    return act_tf(monkeypatch, pose_of_camera)


@pytest.fixture
def no_tf2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'tf2_ros', None)


def test_tf_gives_the_transform_of_the_stamp_or_else_the_latest(tf2):
    provider = ExtrinsicsProvider(NODE, {'front': None})
    (listener,) = tf2
    assert listener.node is NODE
    assert torch.equal(
        provider.lookup('front', 'lidar', 'cam', (5, 6)), extrinsics_from_pose(AHEAD)
    )
    assert torch.equal(
        provider.lookup('front', 'lidar', 'cam', (7, 0)), extrinsics_from_pose(TURNED)
    )
    provider.destroy()
    assert not tf2


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
    assert not tf2
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
