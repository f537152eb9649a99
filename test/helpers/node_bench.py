# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Bench for nodes in the process of a test: inputs, outputs and diagnostics of one node."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.exceptions import InvalidHandle
from rclpy.executors import Executor, MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter as RosParameter
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Float32MultiArray

from tiny_bev_ros.grid import Axis
from tiny_bev_ros.messages.detections import decode_detection_boxes
from tiny_bev_ros.messages.image import encode_image
from tiny_bev_ros.messages.point_cloud import encode_cloud
from tiny_bev_ros.messages.tensor import TensorLabels, decode_tensor, encode_tensor
from tiny_bev_ros.nodes.backbone_node import BackboneNode
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.camera_node import CameraNode
from tiny_bev_ros.nodes.fusion_node import FusionNode
from tiny_bev_ros.nodes.heads_node import HeadsNode
from tiny_bev_ros.nodes.pfn_node import PfnNode
from tiny_bev_ros.nodes.pipeline_node import PipelineNode

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
# Topics of input and output on which a node of each class is tested.
NODES: dict[type[BevNode], tuple[str, str]] = {
    PfnNode: ('points', 'pseudo_image'),
    BackboneNode: ('pseudo_image', 'bev_features'),
    CameraNode: ('image', 'camera_features'),
    FusionNode: ('bev_features', 'fused_features'),
    HeadsNode: ('bev_features', 'detection_boxes'),
    PipelineNode: ('points', 'bev_features'),
}
# Parameters of a small map, computed on the CPU.
SMALL: dict[str, Any] = {
    'grid.x_range': [0.0, 16.0],
    'grid.y_range': [-8.0, 8.0],
    'grid.z_range': [-3.0, 1.0],
    'grid.resolution': 0.5,
    'device': 'cpu',
}
# Camera matrix of an image of 40 x 24 pixels.
K = [40.0, 0.0, 19.5, 0.0, 40.0, 11.5, 0.0, 0.0, 1.0]
ONE_CAMERA = {'cameras': ['front'], 'extrinsics.front': [0.0, 0.0, 0.0, -0.5, 0.5, -0.5, 0.5]}


class Bench:
    """A node with an executor, and a publisher and a subscriber of another participant.

    Args:
        node_class: class of the node.
        number: number that makes the namespace unique in the process.
        **values: parameters of the node.
    """

    def __init__(self, node_class: type[BevNode], number: int, **values: Any) -> None:
        topic, result = NODES[node_class]
        namespace = f'/bench_{os.getpid()}_{number}'
        overrides = [RosParameter(name, value=value) for name, value in values.items()]
        self.contexts = [rclpy.Context() for _ in range(2)]
        for context in self.contexts:
            context.init()
        self.node = node_class(
            context=self.contexts[0], namespace=namespace, parameter_overrides=overrides
        )
        self.node._timer.cancel()  # `status_of` alone takes the counts since the last status
        self.other = rclpy.create_node('other', context=self.contexts[1], namespace=namespace)
        self.results: list[Any] = []
        self.calls = 0
        # Called with the seconds of each input before it is sent, for inputs that go with it.
        self.before_input: Callable[[int], None] = lambda seconds: None
        self.reader = self.other.create_subscription(
            Float32MultiArray, result, self.results.append, 10
        )
        self.is_cloud, self.is_list = topic == 'points', result == 'detection_boxes'
        self.is_image = topic == 'image'
        self.channels = 128 if topic == 'bev_features' else 64
        types = {'points': PointCloud2, 'image': Image}
        self.publisher = self.other.create_publisher(types.get(topic, Float32MultiArray), topic, 1)
        self.info = self.other.create_publisher(CameraInfo, 'camera_info', 1)
        self.executors = [
            MultiThreadedExecutor(3, context=self.contexts[0]),
            SingleThreadedExecutor(context=self.contexts[1]),
        ]
        for executor, node in zip(self.executors, (self.node, self.other), strict=True):
            executor.add_node(node)
            threading.Thread(target=spin, args=(executor,), daemon=True).start()

    def message(self, seconds: int = 1, seed: int | None = None, call: int = 0) -> Any:
        """Returns a random message for the node, stamped with seconds and call."""
        stamp = seconds, call
        generator = np.random.default_rng(seconds if seed is None else seed)
        if self.is_cloud:
            points = generator.uniform([0, -8, -3, 0], [16, 8, 1, 1], (500, 4))
            return encode_cloud(points.astype(np.float32), stamp, 'lidar')
        if self.is_image:
            pixels = generator.integers(0, 256, (24, 40, 3)).astype(np.uint8)
            return encode_image(pixels, stamp, 'cam')
        axis = Axis(0.0, 0.5)
        image = generator.random((1, self.channels, 6, 8), dtype=np.float32)
        return encode_tensor(image, TensorLabels(stamp, 'lidar', axis, axis))

    def send(self, seconds: int = 1, seed: int | None = None, call: int = 0) -> None:
        """Publishes once, if the node subscribes."""
        if self.publisher.get_subscription_count():
            self.before_input(seconds)
            if self.is_image:
                self.info.publish(CameraInfo(width=40, height=24, k=K))
            self.publisher.publish(self.message(seconds, seed, call))

    def frame(self, seconds: int = 1, seed: int | None = None) -> np.ndarray:
        """Publishes until a result of this call comes, not one of an earlier call."""
        self.calls += 1
        end = time.monotonic() + 120
        while time.monotonic() < end:
            self.send(seconds, seed, self.calls)
            time.sleep(0.05)
            for result in list(self.results):
                if self.is_list:
                    found = decode_detection_boxes(result)
                    if found.labels.stamp == (seconds, self.calls):
                        return found.boxes
                    continue
                tensor = decode_tensor(result)
                if tensor.labels.stamp == (seconds, self.calls):
                    return tensor.array
        pytest.fail(f'no result; {self.node.state}, {self.node.fault}, {self.node.stats}')

    def change(self, **values: Any) -> str:
        """Sets parameters, `a__b` for a.b; returns '' or the reason of the refusal."""
        changes = [RosParameter(name.replace('__', '.'), value=x) for name, x in values.items()]
        return self.node.set_parameters_atomically(changes).reason

    def close(self) -> None:
        """Destroys both nodes."""
        for executor in self.executors:
            executor.shutdown(timeout_sec=1)
        self.node.destroy_node()
        self.other.destroy_node()
        for context in self.contexts:
            context.try_shutdown()


def spin(executor: Executor) -> None:
    """Spins until the executor is shut down, as the executables do."""
    while True:
        try:
            return executor.spin()
        except InvalidHandle:  # a subscription was destroyed while callbacks were collected
            continue


def until(done: Callable[[], bool], seconds: float = 120) -> None:
    """Waits for a condition; fails when it takes longer."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


def status_of(node: BevNode) -> DiagnosticStatus:
    """Returns the diagnostics of a node, with rates and warnings since the last call."""
    return node.diagnostics.status(node.report())


def values_of(node: BevNode) -> dict[str, str]:
    """Returns the values of a node's diagnostics, by key."""
    return {pair.key: pair.value for pair in status_of(node).values}


def process(node: BevNode, message: Any, subscription: Any = None) -> None:
    """Lets a node process a message of an input, by default its last, in this thread."""
    options = node.input_options()
    options['stats'].count_received()
    options['is_active']()
    (subscription or node._inputs[-1])._process((message, time.monotonic_ns()))
