# SPDX-License-Identifier: Apache-2.0
"""The nodes measured from outside: a cloud is published, its features come back."""

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
# Executables, each with its parameters, by what the report calls them.
ROUTES: dict[str, dict[str, list[str]]] = {
    'pipeline_node, dense network': {'pipeline_node': ['backbone.sparsity:=never']},
    'pipeline_node': {'pipeline_node': []},
    'pipeline_node, float16': {'pipeline_node': [_FLOAT16]},
    'pipeline_node, float16, products in bfloat16': {'pipeline_node': [_FLOAT16, _BFLOAT16]},
    'two processes, pillars, float16': {
        'pfn_node': [_FLOAT16],
        'backbone_node': [_FLOAT16, 'input:=pillars'],
    },
    'two processes, pillars, float16, products in bfloat16': {
        'pfn_node': [_FLOAT16],
        'backbone_node': [_FLOAT16, 'input:=pillars', _BFLOAT16],
    },
    'two processes, dense, float16': {'pfn_node': [_FLOAT16], 'backbone_node': [_FLOAT16]},
    'two processes, dense, float32': {'pfn_node': [], 'backbone_node': []},
}
STREAMED = (
    'pipeline_node, float16',
    'pipeline_node, float16, products in bfloat16',
    'two processes, pillars, float16',
    'two processes, pillars, float16, products in bfloat16',
    'two processes, dense, float16',
)
HZ = 10.0
_TURNS = 2
_SETTLE_S = 1.5
_START_S = 120.0
_ANSWER_S = 10.0
_TRIES = 20


class Route:
    """The processes from cloud to features, and both ends of their topics.

    Args:
        name: a key of ROUTES.
        more: further parameters of each process.
        folder: for their logs.
        context: of rclpy.
        reliability: of the consumer.
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

    def wait(self, cloud: PointCloud2) -> None:
        """Returns when a cloud is answered: then all have found each other."""
        end = time.monotonic() + _START_S
        while not (
            self._node.count_subscribers('points') and self._node.count_publishers('bev_features')
        ):
            self._check()
            if time.monotonic() > end:
                raise TinyBevError(
                    f'{self.name} was not up after {_START_S:g} s; see {self._logs}'
                )
            self._executor.spin_once(timeout_sec=0.1)
        for _ in range(_TRIES):
            if self._answered(cloud, 1.0):
                return
        raise TinyBevError(f'{self.name} did not answer; see {self._logs}')

    def ask(self, cloud: PointCloud2) -> None:
        """Publishes the cloud and returns when its features are here."""
        if not self._answered(cloud, _ANSWER_S):
            raise TinyBevError(f'{self.name} lost a cloud; see {self._logs}')

    def stream(self, clouds: list[PointCloud2], count: int) -> tuple[list[float], int]:
        """Publishes so many clouds at HZ; ms of the answered ones, and how many were lost."""
        self._sent, self._latencies = {}, []
        start = time.monotonic()
        for number in range(count):
            self._spin_until(start + number / HZ)
            self._send(clouds[number % len(clouds)])
        self._spin_until(time.monotonic() + _SETTLE_S)
        return self._latencies, count - len(self._latencies)

    def close(self) -> None:
        """Ends the processes and the node of this side."""
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
        # Its stamp tells it from the one before.
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


def latencies(
    points: np.ndarray, threads: int, rounds: int, folder: Path
) -> dict[str, list[float]]:
    """Milliseconds by route, all being up and asked in turn, one cloud at a time.

    Args:
        points: (N,4) float32 of one sweep.
        threads: of each process.
        rounds: clouds for each that are timed.
        folder: for the logs.

    Raises:
        TinyBevError: a node ended, did not come up, or did not answer.
    """
    cloud = encode_cloud(points, (1, 0), 'lidar')
    with ExitStack() as stack:
        sides = _start(stack, tuple(ROUTES), [f'num_threads:={threads}'], folder, cloud, 'auto')
        return interleaved(
            {name: partial(side.ask, cloud) for name, side in sides.items()}, rounds
        )


def streams(sweeps: list[np.ndarray], rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Clouds at HZ, with the threads that PyTorch takes: a row per route and reliability.

    Args:
        sweeps: (N,4) float32 each, sent one after the other and again.
        rounds: tenths of the clouds that are sent in each of two turns.
        folder: for the logs.

    Raises:
        TinyBevError: a node ended or did not come up.
    """
    clouds = [encode_cloud(points, (1, 0), 'lidar') for points in sweeps]
    rows: list[dict[str, Any]] = []
    for reliability in ('reliable', 'best_effort'):
        with ExitStack() as stack:
            more = [f'input_reliability:={reliability}']
            sides = _start(stack, STREAMED, more, folder, clouds[0], reliability)
            found: dict[str, dict[str, Any]] = {
                name: {'name': name, 'reliability': reliability, 'ms': [], 'lost': 0}
                for name in sides
            }
            for _ in range(_TURNS):
                for name, side in sides.items():
                    ms, lost = side.stream(clouds, 10 * rounds)
                    found[name]['ms'] += ms
                    found[name]['lost'] += lost
            rows += found.values()
    return rows


def _start(
    stack: ExitStack,
    names: tuple[str, ...],
    more: list[str],
    folder: Path,
    cloud: PointCloud2,
    reliability: str,
) -> dict[str, Route]:
    """Routes that answer; the stack ends them."""
    context = stack.enter_context(private_graph())
    sides = {}
    for name in names:
        # One after the other: each times both of its paths while it starts.
        sides[name] = Route(name, more, folder, context, reliability)
        stack.callback(sides[name].close)
        sides[name].wait(cloud)
    return sides
