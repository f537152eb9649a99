# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Latency of the nodes in processes of their own: from a published cloud to its features."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import PointCloud2

from benchmarks.timing import interleaved
from tiny_bev_ros.client import BevSubscriber, BevTensor
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.point_cloud import encode_cloud
from tiny_bev_ros.runtime.node_process import NodeProcess, private_graph

_FLOAT16, _BFLOAT16 = 'output_encoding:=float16', 'backbone.precision:=bfloat16'
# Executables and their parameters, by the route's name in the report.
ROUTES: dict[str, dict[str, list[str]]] = {
    'pipeline_node, dense network': {'pipeline_node': ['backbone.sparsity:=never']},
    'pipeline_node': {'pipeline_node': []},
    'pipeline_node, float16': {'pipeline_node': [_FLOAT16]},
    'pipeline_node, float16, compute dtype bfloat16': {'pipeline_node': [_FLOAT16, _BFLOAT16]},
    'two processes, pillars, float16': {
        'pfn_node': [_FLOAT16],
        'backbone_node': [_FLOAT16, 'input_format:=pillars'],
    },
    'two processes, pillars, float16, compute dtype bfloat16': {
        'pfn_node': [_FLOAT16],
        'backbone_node': [_FLOAT16, 'input_format:=pillars', _BFLOAT16],
    },
    'two processes, dense, float16': {'pfn_node': [_FLOAT16], 'backbone_node': [_FLOAT16]},
    'two processes, dense, float32': {'pfn_node': [], 'backbone_node': []},
}
STREAMED = (
    'pipeline_node, float16',
    'pipeline_node, float16, compute dtype bfloat16',
    'two processes, pillars, float16',
    'two processes, pillars, float16, compute dtype bfloat16',
    'two processes, dense, float16',
)
HZ = 10.0
_TURNS = 2
_SETTLE_S = 1.5
_START_S = 120.0
_ANSWER_S = 10.0
_TRIES = 20


class Route:
    """Node processes from cloud to features, with a publisher and a subscriber for their topics.

    Args:
        name: name of the route, a key of ROUTES.
        more: further parameters of each process.
        folder: folder of their logs.
        context: context of rclpy.
        reliability: reliability of the subscription: auto, reliable or best_effort.

    Attributes:
        name: name of the route.
        processes: node processes.
    """

    def __init__(
        self,
        name: str,
        more: list[str],
        folder: Path,
        context: rclpy.Context,
        reliability: str = 'auto',
    ) -> None:
        self.name = name
        number = list(ROUTES).index(name)
        namespace = f'/bench_{os.getpid()}_{number}_{reliability}'
        self.processes = []
        for executable, parameters in ROUTES[name].items():
            arguments = ['-r', f'__ns:={namespace}', '-p', 'weights:=none']
            for parameter in [*parameters, *more]:
                arguments += ['-p', parameter]
            log = folder / f'route_{number}_{reliability}_{executable}.log'
            self.processes.append(NodeProcess(executable, arguments, log))
        self._node = rclpy.create_node('bench', namespace=namespace, context=context)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        for process in self.processes:
            process.watch(self._node)
        self._points = self._node.create_publisher(PointCloud2, 'points', QoSProfile(depth=1))
        self._features = BevSubscriber(
            self._node, 'bev_features', self._on_features, reliability=reliability
        )
        self._sent: dict[tuple[int, int], float] = {}
        self._latencies: list[float] = []

    def wait_until_ready(self, cloud: PointCloud2) -> None:
        """Waits until features of a cloud arrive, as all topics are matched then.

        Raises:
            TinyBevError: a process ended, or no features arrived in time.
        """
        end = time.monotonic() + _START_S
        while not (
            self._node.count_subscribers('points') and self._node.count_publishers('bev_features')
        ):
            self._check()
            if time.monotonic() > end:
                raise TinyBevError(
                    f'{self.name} was not ready after {_START_S:g} s; see {self._logs}'
                )
            self._executor.spin_once(timeout_sec=0.1)
        for _ in range(_TRIES):
            if self._answered(cloud, 1.0):
                return
        raise TinyBevError(f'{self.name} did not answer; see {self._logs}')

    def request(self, cloud: PointCloud2) -> None:
        """Publishes a cloud and waits for its features.

        Raises:
            TinyBevError: a process ended, or no features arrived in time.
        """
        if not self._answered(cloud, _ANSWER_S):
            raise TinyBevError(f'{self.name} lost a cloud; see {self._logs}')

    def stream(self, clouds: list[PointCloud2], count: int) -> tuple[list[float], int]:
        """Publishes clouds at HZ.

        Args:
            clouds: clouds, sent one after the other and again.
            count: number of clouds to send.

        Returns:
            Latencies in ms, and the number of clouds whose features did not arrive.
        """
        self._sent, self._latencies = {}, []
        start = time.monotonic()
        for number in range(count):
            self._spin_until(start + number / HZ)
            self._send(clouds[number % len(clouds)])
        self._spin_until(time.monotonic() + _SETTLE_S)
        return self._latencies, count - len(self._latencies)

    def close(self) -> None:
        """Stops the processes, and destroys the node of this process."""
        for process in self.processes:
            process.stop()
        self._executor.remove_node(self._node)
        self._node.destroy_node()

    def _answered(self, cloud: PointCloud2, limit: float) -> bool:
        self._send(cloud)
        end = time.monotonic() + limit
        while self._sent and time.monotonic() < end:
            self._check()
            self._executor.spin_once(timeout_sec=0.1)
        answered = not self._sent
        self._sent = {}
        return answered

    def _send(self, cloud: PointCloud2) -> None:
        # A unique stamp identifies the cloud in the features.
        stamp = divmod(time.monotonic_ns(), 10**9)
        cloud.header.stamp.sec, cloud.header.stamp.nanosec = stamp
        self._sent[stamp] = time.monotonic()
        self._points.publish(cloud)

    def _on_features(self, features: BevTensor) -> None:
        arrived = time.monotonic()
        sent = self._sent.pop(features.labels.stamp, None)  # type: ignore[arg-type]
        if sent is not None:
            self._latencies.append((arrived - sent) * 1e3)

    def _spin_until(self, end: float) -> None:
        while (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def _check(self) -> None:
        for process in self.processes:
            process.check()

    @property
    def _logs(self) -> str:
        return ' and '.join(str(process.log) for process in self.processes)


def measure_latencies(
    points: np.ndarray, threads: int, rounds: int, folder: Path
) -> dict[str, list[float]]:
    """Measures the latency of each route; all run at once and get one cloud at a time in turn.

    Args:
        points: (N,4) float32 points of one sweep.
        threads: number of threads of each process.
        rounds: number of timed clouds per route.
        folder: folder of the logs.

    Returns:
        Milliseconds of each cloud, by route.

    Raises:
        TinyBevError: a node ended, did not start, or did not publish features.
    """
    cloud = encode_cloud(points, (1, 0), 'lidar')
    with ExitStack() as stack:
        routes = _start(stack, tuple(ROUTES), [f'num_threads:={threads}'], folder, cloud, 'auto')
        return interleaved(
            {name: partial(route.request, cloud) for name, route in routes.items()}, rounds
        )


def measure_streams(sweeps: list[np.ndarray], rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Measures each route on clouds at HZ, with PyTorch's default number of threads.

    Args:
        sweeps: points (N,4) float32 of each sweep, sent one after the other and again.
        rounds: a tenth of the number of clouds sent in each of two turns.
        folder: folder of the logs.

    Returns:
        One row per route and reliability: 'name', 'reliability', 'ms' and 'lost'.

    Raises:
        TinyBevError: a node ended or did not start.
    """
    clouds = [encode_cloud(points, (1, 0), 'lidar') for points in sweeps]
    rows: list[dict[str, Any]] = []
    for reliability in ('reliable', 'best_effort'):
        with ExitStack() as stack:
            more = [f'input_reliability:={reliability}']
            routes = _start(stack, STREAMED, more, folder, clouds[0], reliability)
            by_route: dict[str, dict[str, Any]] = {
                name: {'name': name, 'reliability': reliability, 'ms': [], 'lost': 0}
                for name in routes
            }
            for _ in range(_TURNS):
                for name, route in routes.items():
                    ms, lost = route.stream(clouds, 10 * rounds)
                    by_route[name]['ms'] += ms
                    by_route[name]['lost'] += lost
            rows += by_route.values()
    return rows


def _start(
    stack: ExitStack,
    names: tuple[str, ...],
    more: list[str],
    folder: Path,
    cloud: PointCloud2,
    reliability: str,
) -> dict[str, Route]:
    """Starts routes and waits until they are ready; the stack closes them."""
    context = stack.enter_context(private_graph())
    routes = {}
    for name in names:
        # One after the other, as a start compiles kernels and loads all cores.
        routes[name] = Route(name, more, folder, context, reliability)
        stack.callback(routes[name].close)
        routes[name].wait_until_ready(cloud)
    return routes
