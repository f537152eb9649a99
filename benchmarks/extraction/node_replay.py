# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Replay of bags through pipeline_node without losses: each cloud after the last one's result."""

from __future__ import annotations

import os
import time
from pathlib import Path

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Float32MultiArray

from tiny_bev_ros.bag.reader import Bag, find_cloud_topic
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.detections import decode_detection_boxes
from tiny_bev_ros.resources import config_file
from tiny_bev_ros.runtime.node_process import NodeProcess, private_graph

_START_S, _ANSWER_S = 120.0, 10.0


def replay(bags: list[Path], folder: Path) -> None:
    """Sends every cloud of some bags to a node in a process of its own.

    Args:
        bags: paths of the bags.
        folder: folder of the node's log.

    Raises:
        TinyBevError: the node ended, did not start, or did not answer.
    """
    namespace = f'/replay_{os.getpid()}'
    arguments = ['-r', f'__ns:={namespace}', '-p', 'weights:=street', '-p', 'num_threads:=1']
    arguments += ['--params-file', str(config_file('grids/around.yaml'))]
    log = folder / 'node_replay.log'
    with private_graph() as context, NodeProcess('pipeline_node', arguments, log) as process:
        client = _Client(context, namespace, process)
        try:
            for path in bags:
                with Bag(path) as bag:
                    for message in bag.messages([find_cloud_topic(bag)]):
                        client.send(deserialize_message(message.data, PointCloud2))
        finally:
            client.close()


class _Client:
    """Publisher of clouds, and subscriber of the objects in them."""

    def __init__(self, context: rclpy.Context, namespace: str, process: NodeProcess) -> None:
        self._process, self._awaited, self._limit = process, (0, 0), _START_S
        self._node = rclpy.create_node('replay', namespace=namespace, context=context)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        process.watch(self._node)
        profile = QoSProfile(depth=1)
        self._points = self._node.create_publisher(PointCloud2, 'points', profile)
        self._node.create_subscription(
            Float32MultiArray, 'detection_boxes', self._on_objects, profile
        )

    def send(self, cloud: PointCloud2) -> None:
        """Publishes a cloud and waits for its objects; the first one until the node is ready.

        Raises:
            TinyBevError: the node ended, or did not answer.
        """
        stamp = cloud.header.stamp
        self._awaited = (stamp.sec, stamp.nanosec)
        end = time.monotonic() + self._limit
        while not self._node.count_subscribers('points'):
            self._check(end)
            self._executor.spin_once(timeout_sec=0.05)
        while any(self._awaited):
            self._points.publish(cloud)
            # Until all topics are matched, a cloud or its answer may be lost.
            again = time.monotonic() + (1.0 if self._limit == _START_S else _ANSWER_S)
            while any(self._awaited) and time.monotonic() < again:
                self._check(end)
                self._executor.spin_once(timeout_sec=0.05)
        self._limit = _ANSWER_S

    def close(self) -> None:
        """Destroys the node of this process."""
        self._executor.remove_node(self._node)
        self._node.destroy_node()

    def _check(self, end: float) -> None:
        self._process.check()
        if time.monotonic() > end:
            raise TinyBevError(f'pipeline_node did not answer; see {self._process.log}')

    def _on_objects(self, message: Float32MultiArray) -> None:
        if decode_detection_boxes(message).labels.stamp == self._awaited:
            self._awaited = (0, 0)
