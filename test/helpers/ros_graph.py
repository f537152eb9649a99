# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""ROS graph of real processes for tests, apart from any other graph on the machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
from forked_node import ForkedNode
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, QoSReliabilityPolicy

from tiny_bev_ros.runtime.node_process import NodeProcess

# Timeout: a busy machine needs much of this time.
WAIT_S = 120.0


class RosGraph:
    """Starts executables, publishes to them and collects their messages.

    All topics are in a namespace of this test process, on the domain of this test process.
    """

    _number = 0

    def __init__(self, folder: Path) -> None:
        RosGraph._number += 1
        self.folder = folder
        self.namespace = f'/test_{os.getpid()}_{RosGraph._number}'
        self._saved = dict(os.environ)
        self._context = rclpy.Context()
        self._context.init()
        self.node = rclpy.create_node('tester', namespace=self.namespace, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.processes: dict[str, NodeProcess] = {}

    def start(self, executable: str, *arguments: str, **parameters: Any) -> NodeProcess:
        """Starts an executable, with random weights by default; `a__b=1` sets parameter a.b."""
        return self._start(ForkedNode, executable, arguments, parameters)

    def start_afresh(self, executable: str, *arguments: str, **parameters: Any) -> NodeProcess:
        """Starts an executable as a user does, with its imports: for tests of the start."""
        return self._start(NodeProcess, executable, arguments, parameters)

    def _start(
        self,
        kind: type[NodeProcess],
        executable: str,
        arguments: tuple[str, ...],
        parameters: dict[str, Any],
    ) -> NodeProcess:
        parameters = {'weights': 'none', **parameters}
        arguments = ('-r', f'__ns:={self.namespace}', *arguments)
        for name, value in parameters.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            arguments += ('-p', f'{name.replace("__", ".")}:={text}')
        process = kind(executable, list(arguments), self.folder / f'{executable}.log')
        process.watch(self.node)
        self.processes[executable] = process
        return process

    def collect(self, message_type: type, topic: str, reliable: bool = True) -> list[Any]:
        """Returns a list that grows with each message on the topic."""
        messages: list[Any] = []
        self.node.create_subscription(message_type, topic, messages.append, quality(reliable, 10))
        return messages

    def publisher(self, message_type: type, topic: str, reliable: bool = True) -> Any:
        """Returns a publisher once it has a subscriber."""
        publisher = self.node.create_publisher(message_type, topic, quality(reliable, 10))
        self.spin_until(lambda: publisher.get_subscription_count() > 0)
        # The other end discovers our subscriptions at about the same time.
        self.spin_for(0.5)
        return publisher

    def spin_until(self, done: Callable[[], bool], seconds: float = WAIT_S) -> None:
        """Spins until a condition holds; fails with the processes' logs when it takes longer."""
        end = time.monotonic() + seconds
        while not done():
            for process in self.processes.values():
                process.check()
            assert time.monotonic() < end, f'not within {seconds} s\n{self.logs()}'
            self._executor.spin_once(timeout_sec=0.05)

    def spin_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.05)

    def logs(self) -> str:
        return '\n'.join(process.log.read_text() for process in self.processes.values())

    def close(self) -> None:
        for process in self.processes.values():
            process.stop()
        self.node.destroy_node()
        self._context.try_shutdown()
        os.environ.clear()
        os.environ.update(self._saved)


def quality(reliable: bool, depth: int) -> QoSProfile:
    profile = QoSProfile(depth=depth)
    policy = QoSReliabilityPolicy.RELIABLE if reliable else QoSReliabilityPolicy.BEST_EFFORT
    profile.reliability = policy
    return profile
