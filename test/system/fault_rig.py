# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Rig of a node as a process: sends good clouds and checks everything that it publishes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import PointCloud2

from tiny_bev_ros.client import BevSubscriber, BevTensor
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.messages.point_cloud import encode_cloud
from tiny_bev_ros.models import PillarFeatureNet, build_backbone, scatter, seeded
from tiny_bev_ros.runtime.node_process import NodeProcess

GRID = BevGrid((0.0, 16.0), (-8.0, 8.0), (-3.0, 1.0), 0.5)
PARAMETERS = {
    'weights': 'none',
    'grid.x_range': '[0.0, 16.0]',
    'grid.y_range': '[-8.0, 8.0]',
    'grid.z_range': '[-3.0, 1.0]',
    'grid.resolution': '0.5',
    'device': 'cpu',
    'max_age_ms': '1000.0',
}
# The first start compiles kernels, on a slow or busy machine for minutes.
_START_S = 300.0
_PERIOD_S = 0.05
# Time in which a good cloud leads to an output, or never.
_ANSWER_S = 1.0
_RECOVER_S = 60.0
_CLOUDS = 4
_TOLERANCE = 1e-3
# Time of the transport from the node to here, which adds to max_age_ms.
_TRANSPORT_S = 0.5


class Rig:
    """Runs pipeline_node and compares each output with the expected one for its stamp.

    Args:
        context: context of the graph that the node is in.
        folder: folder of the logs.

    Attributes:
        problems: descriptions of what the node must not do and did.
        answers: number of outputs of good clouds.
        allowed: stamps of other clouds, which may lead to an output.
        has_twin: true while a second node runs, so that each output comes twice.
        ages: ages of the outputs of good clouds, in seconds, each with the monotonic time of
            its arrival.
        folder: folder of the logs.
    """

    _numbers = itertools.count()

    def __init__(self, context: rclpy.Context, folder: Path) -> None:
        self.folder, self.problems = folder, list[str]()
        self.process: NodeProcess | None = None
        self.answers = 0
        self.has_twin = False
        self.ages: list[tuple[float, float]] = []
        self.allowed: set[tuple[int, int]] = set()
        self.namespace = f'/faults_{next(self._numbers)}'
        self.node = rclpy.create_node('rig', namespace=self.namespace, context=context)
        self._context = context
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self.node)
        self._clouds = [cloud(seed) for seed in range(_CLOUDS)]
        self._expected = [expected_features(points) for points in self._clouds]
        self._sent: dict[tuple[int, int], int] = {}
        self._last = (0, 0)
        self._status: dict[str, tuple[int, DiagnosticStatus]] = {}
        self._num_diagnostics = 0
        self._points: Any = None
        self.replace_publisher(reliable=True)
        self._features = BevSubscriber(self.node, 'bev_features', self._check_output)
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._store_status, 10)

    # The node.

    def start(self, parameters: dict[str, str] | None = None) -> None:
        """Starts pipeline_node and waits for its first output."""
        self.spawn(parameters)
        self.recover(_START_S)

    def spawn(self, parameters: dict[str, str] | None = None) -> NodeProcess:
        """Starts pipeline_node."""
        given = PARAMETERS | (parameters or {})
        words = [word for name, text in given.items() for word in ('-p', f'{name}:={text}')]
        log = self.folder / f'{self.namespace.strip("/")}_{next(self._numbers)}.log'
        self.process = NodeProcess(
            'pipeline_node',
            ['-r', f'__ns:={self.namespace}', *words],
            log,
        )
        self.process.watch(self.node)
        return self.process

    def close(self) -> None:
        """Ends the node and notes its faults, which include an exit code other than 0."""
        if self.process is not None:
            self.check()
            code = self.process.stop()
            if code != 0:
                self.problems.append(f'exit code {code}')
        self._features.destroy()
        self.node.destroy_node()

    def check(self) -> None:
        """Notes when the node has ended by itself or logged a traceback."""
        if self.process is None:
            return
        try:
            self.process.check()
        except TinyBevError as error:
            self.problems.append(str(error))
        self.check_log()

    def check_log(self) -> None:
        """Notes when the node has logged a traceback."""
        if self.process is not None and 'Traceback' in self.process.log.read_text(
            errors='replace'
        ):
            self.problems.append(f'a traceback in {self.process.log}')

    # Clouds.

    def replace_publisher(self, reliable: bool) -> None:
        """Destroys the publisher of clouds, if there is one, and creates another."""
        if self._points is not None:
            self.node.destroy_publisher(self._points)
        profile = QoSProfile(depth=1)
        if not reliable:
            profile.reliability = QoSReliabilityPolicy.BEST_EFFORT
        self._points = self.node.create_publisher(PointCloud2, 'points', profile)

    def replace_subscriber(self, reliability: str) -> None:
        """Destroys the subscriber of features and creates another."""
        self._features.destroy()
        self._features = BevSubscriber(
            self.node, 'bev_features', self._check_output, reliability=reliability
        )

    def destroy_subscriber(self) -> None:
        """Destroys the subscriber of features: outputs are not checked from then on."""
        self._features.destroy()

    def send_good(self) -> tuple[int, int]:
        """Sends a good cloud; returns its stamp."""
        stamp = now()
        self._sent[stamp] = index = len(self._sent) % _CLOUDS
        self._points.publish(encode_cloud(self._clouds[index], stamp, 'lidar'))
        return stamp

    def send(self, message: PointCloud2, may_answer: bool = False) -> None:
        """Sends any other cloud; ``may_answer`` allows an output of its stamp."""
        if may_answer:
            self.allowed.add((message.header.stamp.sec, message.header.stamp.nanosec))
        self._points.publish(message)

    def stream(self, seconds: float) -> int:
        """Sends good clouds for some seconds; returns how many led to no output."""
        before, sent = self.answers, 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.send_good()
            sent += 1
            self.spin_for(_PERIOD_S)
        return self._missing(before, sent, _ANSWER_S)

    def recover(self, seconds: float = _RECOVER_S) -> tuple[int, float]:
        """Sends good clouds until an output; returns the number without one, and the time."""
        begin, before, sent = time.monotonic(), self.answers, 0
        while time.monotonic() - begin < seconds:
            self.send_good()
            sent += 1
            if self.spin_until(lambda: self.answers > before, _PERIOD_S):
                elapsed = time.monotonic() - begin
                return self._missing(before, sent, _PERIOD_S), elapsed
        self.problems.append(f'no good output within {seconds:g} s')
        return sent, seconds

    def _missing(self, before: int, sent: int, seconds: float) -> int:
        """Number of sent clouds without an output, once the last ones had time for it."""
        self.spin_until(lambda: self.answers - before >= sent, seconds)
        return sent - (self.answers - before)

    def _check_output(self, bev: BevTensor) -> None:
        arrived, stamp = time.time(), bev.labels.stamp or (0, 0)
        if stamp in self.allowed:
            return
        if stamp not in self._sent:
            self.problems.append(f'an output of the unknown stamp {stamp}')
            return
        age = arrived - stamp[0] - stamp[1] / 1e9
        if age > float(PARAMETERS['max_age_ms']) / 1e3 + _TRANSPORT_S or (
            stamp <= self._last and not self.has_twin
        ):
            self.problems.append(f'an output that is {age:.2f} s old')
        expected = self._expected[self._sent[stamp]]
        if expected.shape != bev.array.shape or np.abs(bev.array - expected).max() > _TOLERANCE:
            self.problems.append('a wrong output')
        self._last = stamp
        self.answers += 1
        self.ages.append((time.monotonic(), age))

    # Time, and diagnostics of the node.

    def spin_for(self, seconds: float) -> None:
        """Runs callbacks for some seconds."""
        self.spin_until(lambda: False, seconds)

    def spin_until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Runs callbacks until a condition holds; returns whether it did in time."""
        end = time.monotonic() + seconds
        while not done():
            remaining = end - time.monotonic()
            if remaining <= 0:
                return False
            self._executor.spin_once(timeout_sec=remaining)
        return True

    def status(self, name: str = 'pipeline_node') -> DiagnosticStatus:
        """Returns the next status that the node reports."""
        start = self._num_diagnostics
        key = f"{self.namespace.strip('/')}/{name}: bird's-eye view"
        # The next status may have been sent before this call.
        if not self.spin_until(lambda: self._status.get(key, (0,))[0] > start + 1, 10.0):
            self.problems.append('no diagnostics for 10 s')
            return DiagnosticStatus()
        return self._status[key][1]

    def counts(self) -> dict[str, int]:
        """Returns the numbers of inputs that the node reports: received, published, dropped."""
        return {
            pair.key.removeprefix('dropped_'): int(pair.value)
            for pair in self.status().values
            if pair.key in ('received', 'published') or pair.key.startswith('dropped_')
        }

    def _store_status(self, message: DiagnosticArray) -> None:
        self._num_diagnostics += 1
        for status in message.status:
            self._status[status.name] = self._num_diagnostics, status

    @contextmanager
    def other_participant(self) -> Iterator[Any]:
        """Creates a node of another participant: Fast DDS allows one type per topic in each."""
        context = rclpy.Context()
        context.init()
        node = rclpy.create_node('other_participant', namespace=self.namespace, context=context)
        try:
            yield node
        finally:
            node.destroy_node()
            context.try_shutdown()


def now() -> tuple[int, int]:
    """Returns the time as a stamp."""
    return divmod(time.time_ns(), 10**9)


def cloud(seed: int, count: int = 500) -> np.ndarray:
    """Returns (N,4) random points on the grid of the rig."""
    points = np.random.default_rng(seed).uniform([0, -8, -3, 0], [16, 8, 1, 1], (count, 4))
    return points.astype(np.float32)


def expected_features(points: np.ndarray) -> np.ndarray:
    """Returns the BEV features that PyTorch computes with the weights of seed 0."""
    with seeded(0):
        pfn = PillarFeatureNet().eval()
    with seeded(0):
        backbone = build_backbone('tiny').eval()
    with torch.inference_mode():
        features, cells = pfn(torch.from_numpy(points), GRID)
        bev: np.ndarray = backbone(scatter(features, cells, GRID.shape)).numpy()
    return bev
