# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Latency and state of `pipeline_node` with clouds at 10 Hz."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import PointCloud2

from benchmarks.gpu.check_section import CheckSettings, SectionResult
from benchmarks.gpu.stage_times import percentiles
from tiny_bev_ros.client import BevSubscriber, BevTensor
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.point_cloud import encode_cloud
from tiny_bev_ros.runtime.node_process import NodeProcess, private_graph

_NODE = 'pipeline_node'
_HZ = 10.0
_START_S, _ANSWER_S = 90.0, 3.0
_STATE = ('device', 'precision', 'path', 'memory_fallback', 'received', 'published')


def run_node(settings: CheckSettings) -> SectionResult:
    """Runs the node in a process with the shipped weights, and sends it clouds.

    Raises:
        TinyBevError: the node ended, could not be configured, or did not answer.
        LookupError: the package is not built.
    """
    grid = settings.grid
    parameters = {
        'device': settings.node_device,
        'weights': 'street',
        'grid.x_range': list(grid.x_range),
        'grid.y_range': list(grid.y_range),
        'grid.z_range': list(grid.z_range),
        'grid.resolution': grid.resolution,
    }
    namespace = f'/gpu_check_{os.getpid()}'
    arguments = ['-r', f'__ns:={namespace}']
    for name, value in parameters.items():
        arguments += ['-p', f'{name}:={value}']
    log = settings.folder / 'pipeline_node.log'
    with private_graph() as context, NodeProcess(_NODE, arguments, log) as process:
        client = _Client(context, namespace, process, settings)
        try:
            client.wait_until_ready()
            client.send_all()
            client.spin(lambda: not client.state, _ANSWER_S)
        finally:
            client.close()
    return _result(client, settings)


class _Client:
    """Publisher of clouds, and subscriber of features and diagnostics."""

    def __init__(
        self,
        context: rclpy.Context,
        namespace: str,
        process: NodeProcess,
        settings: CheckSettings,
    ) -> None:
        self.state: dict[str, str] = {}
        self.latencies: list[float] = []
        self._sent: dict[tuple[int, int], float] = {}
        self._frames = settings.frames
        self._clouds = [encode_cloud(points, (1, 0), 'lidar') for points in settings.clouds]
        self._process, self._name = process, f'{namespace}/{_NODE}'.lstrip('/')
        self._node = rclpy.create_node('gpu_check', namespace=namespace, context=context)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        process.watch(self._node)
        self._points = self._node.create_publisher(PointCloud2, 'points', QoSProfile(depth=1))
        self._features = BevSubscriber(self._node, 'bev_features', self._on_features)
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)

    def wait_until_ready(self) -> None:
        """Sends clouds until features of one arrive.

        Raises:
            TinyBevError: the node ended, or no features arrived in time.
        """
        end = time.monotonic() + _START_S
        while not self.latencies:
            if time.monotonic() > end:
                raise TinyBevError(
                    f'{_NODE} did not answer within {_START_S:g} s; see {self._process.log}'
                )
            self._send(self._clouds[0])
            self.spin(lambda: not self.latencies, 0.5)
        self.spin(lambda: True, 0.5)  # answers to earlier clouds

    def send_all(self) -> None:
        """Sends the clouds of the check at 10 Hz, and waits for the last answer."""
        self.latencies, self._sent, self.state = [], {}, {}
        start = time.monotonic()
        for number in range(self._frames):
            self.spin(lambda: True, start + number / _HZ - time.monotonic())
            self._send(self._clouds[number % len(self._clouds)])
        self.spin(lambda: bool(self._sent), _ANSWER_S)

    def spin(self, waiting: Callable[[], bool], seconds: float) -> None:
        """Receives messages while there is something to wait for."""
        end = time.monotonic() + seconds
        while waiting() and (left := end - time.monotonic()) > 0:
            self._process.check()
            self._executor.spin_once(timeout_sec=min(left, 0.1))

    def close(self) -> None:
        """Destroys the node of this process."""
        self._executor.remove_node(self._node)
        self._node.destroy_node()

    def _send(self, cloud: PointCloud2) -> None:
        # A unique stamp identifies the cloud in the features.
        stamp = divmod(time.monotonic_ns(), 10**9)
        cloud.header.stamp.sec, cloud.header.stamp.nanosec = stamp
        self._sent[stamp] = time.monotonic()
        self._points.publish(cloud)

    def _on_features(self, features: BevTensor) -> None:
        sent = self._sent.pop(features.labels.stamp, None)  # type: ignore[arg-type]
        if sent is not None:
            self.latencies.append((time.monotonic() - sent) * 1e3)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.partition(':')[0] == self._name:
                self.state = {pair.key: pair.value for pair in status.values}


def _result(client: _Client, settings: CheckSettings) -> SectionResult:
    result = SectionResult()
    lost = settings.frames - len(client.latencies)
    state = {key: client.state.get(key, 'unknown') for key in _STATE}
    if lost == settings.frames:
        result.failures.append(f'none of {settings.frames} clouds was answered')
        return result
    if not state['device'].startswith(settings.node_device):
        result.failures.append(f'device is {state["device"]}; expected {settings.node_device}')
    if state['memory_fallback'] != 'none':
        result.failures.append(f'memory_fallback is {state["memory_fallback"]}; expected none')
    result.text = (
        f'`pipeline_node`, {settings.frames} clouds at {_HZ:g} Hz, from publication to features '
        f'in another process: p50 / p95 {percentiles(client.latencies)} ms, {lost} lost. '
        'Diagnostics: ' + ', '.join(f'{key} {value}' for key, value in state.items()) + '.'
    )
    return result
