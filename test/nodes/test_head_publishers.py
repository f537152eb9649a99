# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Publishers of heads: markers and drivable area are withdrawn when the node leaves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import rclpy
import torch
from nav_msgs.msg import OccupancyGrid
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter as RosParameter
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from visualization_msgs.msg import Marker, MarkerArray

from tiny_bev_ros.grid import Axis
from tiny_bev_ros.inference.head_runner import HeadOutputs
from tiny_bev_ros.messages.tensor_labels import TensorLabels
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.nodes.heads_node import HeadsNode

pytestmark = [pytest.mark.dds, pytest.mark.timeout(60)]

BOXES = torch.tensor([[10.0, 2.0, -0.9, 4.2, 1.7, 1.5, 0.4]])
OUTPUTS = HeadOutputs(
    detection=Detections(BOXES, torch.tensor([0.9]), torch.tensor([0])),
    drivable=torch.full((4, 6), 0.75),
)
TOPICS = frozenset({'detection_markers', 'drivable_area'})
KNOWN = np.arange(24).reshape(4, 6) % 2 == 0


def labels(ms: int) -> TensorLabels:
    return TensorLabels((100, ms * 10**6), 'lidar', Axis(-1.0, 0.5), Axis(0.0, 0.5))


class Rig:
    """A heads_node in this process, and the messages that subscribers receive."""

    def __init__(self) -> None:
        self._context = rclpy.Context()
        self._context.init()
        namespace = f'/heads_{os.getpid()}_{id(self)}'
        self.node = HeadsNode(
            context=self._context,
            namespace=namespace,
            parameter_overrides=[RosParameter('device', value='cpu')],
        )
        assert self.node.start()
        self._listener = rclpy.create_node('ear', namespace=namespace, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._listener)
        self.markers = self.hear(MarkerArray, 'detection_markers')
        self.areas = self.hear(OccupancyGrid, 'drivable_area')
        output = self.node._output
        self.spin_until(lambda: output.subscribed() >= TOPICS)

    def hear(self, kind: Any, topic: str, **quality: Any) -> list[Any]:
        heard: list[Any] = []
        profile = QoSProfile(depth=5, **quality)
        self._listener.create_subscription(kind, topic, heard.append, profile)
        return heard

    def see(self, ms: int) -> None:
        count = len(self.markers) + 1
        self.node._output.publish(OUTPUTS, labels(ms), TOPICS, lambda: (KNOWN, -1.7))
        self.spin_until(lambda: len(self.markers) == len(self.areas) == count)

    def spin_until(self, done: Callable[[], bool]) -> None:
        while not done():  # the timeout of the test is its end
            self._executor.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        self.node.destroy_node()
        self._listener.destroy_node()
        self._context.try_shutdown()


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


def fail(node: HeadsNode) -> None:
    node.fault = 'memory is short'
    node.trigger_deactivate()


@pytest.mark.parametrize(
    'leave',
    [
        HeadsNode.trigger_deactivate,
        HeadsNode.trigger_shutdown,
        HeadsNode.destroy_node,
        fail,
    ],
    ids=['deactivate', 'shutdown', 'exit', 'error'],
)
def test_nothing_stays_when_the_node_leaves(rig: Rig, leave: Callable[[HeadsNode], Any]):
    rig.see(0)
    rig.see(100)
    area = rig.areas[-1]
    assert (area.info.origin.position.z, set(area.data)) == (-1.7, {25, -1})
    assert [each.action for each in rig.markers[-1].markers] == [3, 0, 0]
    leave(rig.node)
    rig.spin_until(lambda: len(rig.markers) == len(rig.areas) == 3)
    assert [each.action for each in rig.markers[-1].markers] == [Marker.DELETEALL]
    assert set(rig.areas[-1].data) == {-1}
    assert rig.areas[-1].info == area.info


def test_nothing_is_withdrawn_where_nothing_was_published(rig: Rig):
    rig.node.trigger_deactivate()
    rig.node.trigger_activate()
    rig.see(0)
    assert len(rig.markers) == len(rig.areas) == 1


def test_markers_last_until_the_next_ones(rig: Rig):
    for ms in (0, 100, 900, 899):
        rig.see(ms)
    lasts = [each.markers[1].lifetime for each in rig.markers]
    assert [last.sec + last.nanosec / 1e9 for last in lasts] == pytest.approx([1, 1, 2.4, 1])


def test_a_map_server_s_reader_gets_the_last_area(rig: Rig):
    """Subscribes as nav2's static layer does: late, and transient local."""
    rig.see(0)
    late = rig.hear(OccupancyGrid, 'drivable_area', durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    rig.spin_until(lambda: late)
    assert late == rig.areas


def test_detections_are_published_before_the_ground_is_observed(rig: Rig):
    def observe_ground() -> tuple[np.ndarray, float]:
        rig.spin_until(lambda: bool(rig.markers))
        assert not rig.areas
        return KNOWN, -1.7

    rig.node._output.publish(OUTPUTS, labels(0), TOPICS, observe_ground)
    rig.spin_until(lambda: bool(rig.areas))
