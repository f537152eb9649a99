# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Clouds in `cloud.target_frame`, by a stand-in of tf2_ros that behaves as the real one."""

from __future__ import annotations

import itertools
import math
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import rclpy
from acted_tf import Pose, act_tf
from node_bench import process, status_of
from rclpy.parameter import Parameter
from rclpy.time import Time

from tiny_bev_ros.messages.point_cloud import encode_cloud
from tiny_bev_ros.nodes.pfn_node import PfnNode
from tiny_bev_ros.nodes.subscriptions import LabelledCloud
from tiny_bev_ros.nodes.target_frame import CloudTransform

NUMBERS = itertools.count()
# Sensors in base_link: 1 m ahead and 2 m up, upside down and level; x, y, z, qx, qy, qz, qw.
POSES: dict[str, Pose] = {
    'hanging': (1.0, 0.5, 2.0, 1.0, 0.0, 0.0, 0.0),
    'level': (1.0, 0.5, 2.0, 0.0, 0.0, math.sin(math.pi / 4), math.cos(math.pi / 4)),
}


def pose_in_base_link(target: str, source: str, time: Time) -> Pose | None:
    return POSES.get(source) if target == 'base_link' else None


@pytest.fixture
def tf2(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    return act_tf(monkeypatch, pose_in_base_link)


@pytest.fixture
def no_tf2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'tf2_ros', None)


@pytest.fixture
def node_with() -> Iterator[Callable[..., tuple[PfnNode, list[LabelledCloud]]]]:
    context = rclpy.Context()
    context.init()
    nodes: list[PfnNode] = []

    def make(**values: Any) -> tuple[PfnNode, list[LabelledCloud]]:
        given = {
            'grid.x_range': [-8.0, 8.0],
            'grid.y_range': [-8.0, 8.0],
            'grid.resolution': 0.5,
            'device': 'cpu',
            **{name.replace('__', '.'): value for name, value in values.items()},
        }
        overrides = [Parameter(name, value=each) for name, each in given.items()]
        node = PfnNode(
            context=context,
            namespace=f'/target_{next(NUMBERS)}',
            parameter_overrides=overrides,
        )
        nodes.append(node)
        clouds: list[LabelledCloud] = []
        node.process = clouds.append  # type: ignore[method-assign]
        assert node.start(), node.fault
        return node, clouds

    yield make
    for node in nodes:
        node.destroy_node()
    context.try_shutdown()


POINTS = np.float32([[3, 1, 0.5, 0.1], [-2, 4, -1, 0.2]])


def test_a_sensor_upside_down_is_put_upright(tf2, node_with):
    node, clouds = node_with(cloud__target_frame='base_link')
    process(node, encode_cloud(POINTS, (5, 6), 'hanging'))
    (cloud,) = clouds
    # Half a turn about x.
    expected = np.float32([[4, -0.5, 1.5, 0.1], [-1, -3.5, 3, 0.2]])
    assert cloud.points == pytest.approx(expected, abs=1e-5)
    assert cloud.labels.frame_id == 'base_link'
    assert cloud.labels.stamp == (5, 6)
    assert cloud.sensor == (1.0, 0.5)


def test_a_rotation_about_z_turns_points(tf2, node_with):
    node, clouds = node_with(cloud__target_frame='base_link')
    process(node, encode_cloud(POINTS, (5, 6), 'level'))
    expected = np.float32([[0, 3.5, 2.5, 0.1], [-3, -1.5, 1, 0.2]])
    assert clouds[0].points == pytest.approx(expected, abs=1e-5)


def test_the_own_box_is_in_the_target_frame(tf2, node_with):
    box = [3.9, 4.1, -0.6, -0.4, 1.4, 1.6]
    node, clouds = node_with(cloud__target_frame='base_link', cloud__self_box=box)
    process(node, encode_cloud(POINTS, (5, 6), 'hanging'))
    assert clouds[0].points[:, 3].tolist() == pytest.approx([0.2])
    assert node.stats.points.own == 1


def test_a_cloud_in_the_target_frame_needs_no_transform(tf2, node_with):
    node, clouds = node_with(cloud__target_frame='base_link')
    process(node, encode_cloud(POINTS, (5, 6), 'base_link'))
    assert np.array_equal(clouds[0].points, POINTS)
    assert clouds[0].sensor == (0.0, 0.0)


def test_a_missing_transform_is_counted_and_the_node_stays_up(tf2, node_with):
    node, clouds = node_with(cloud__target_frame='base_link')
    lines: list[str] = []
    node.stats._logger = types.SimpleNamespace(error=lines.append)
    for _ in range(3):
        process(node, encode_cloud(POINTS, (5, 6), 'nowhere'))
    assert clouds == []
    assert node.stats.dropped['rejected'] == 3
    assert lines == [
        "points rejected (1 so far): TF has no 'nowhere' in 'base_link' (\"nowhere\" does not "
        "exist.); expected a transform, or the parameter cloud.target_frame ''"
    ]
    assert node.state == 'active'
    process(node, encode_cloud(POINTS, (5, 6), 'level'))
    assert len(clouds) == 1
    values = {pair.key: pair.value for pair in status_of(node).values}
    assert values['dropped_rejected'] == '3'


def test_tf_is_listened_to_while_active_and_only_for_a_target_frame(tf2, node_with):
    node_with()
    assert not tf2
    node, _ = node_with(cloud__target_frame='base_link')
    assert len(tf2) == 1
    node.trigger_deactivate()
    assert not tf2
    node.trigger_activate()
    assert len(tf2) == 1
    node.trigger_deactivate()


def test_without_tf_clouds_in_another_frame_are_rejected(no_tf2, node_with):
    node, clouds = node_with(cloud__target_frame='base_link')
    lines: list[str] = []
    node.stats._logger = types.SimpleNamespace(error=lines.append)
    process(node, encode_cloud(POINTS, (5, 6), 'hanging'))
    assert clouds == [] and 'there is no TF (' in lines[0]
    process(node, encode_cloud(POINTS, (5, 6), 'base_link'))
    assert len(clouds) == 1


def test_far_from_the_origin_of_a_map_points_keep_their_digits():
    matrix = np.eye(4)
    matrix[:3, 3] = [5000.25, -8000.5, 1.0]
    transform = CloudTransform(matrix, (5000.0, -8000.0))
    assert transform.points(POINTS) == pytest.approx(
        POINTS + np.float32([0.25, -0.5, 1, 0]), abs=1e-6
    )
    assert transform.origin == (5000.25, -8000.5)
