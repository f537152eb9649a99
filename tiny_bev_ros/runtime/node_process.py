# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Executables of the package as child processes, and a private ROS graph for them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.resources import command
from tiny_bev_ros.runtime.process import tune_process

_START_S = 300.0
_STOP_S = 60.0


@contextmanager
def private_graph() -> Iterator[rclpy.Context]:
    """Context manager: a ROS context, and an environment for children, on a domain of their own.

    This process is tuned for large tensors, as the nodes are. When the block ends, the
    environment is restored and the context shut down.
    """
    saved = dict(os.environ)
    tune_process()
    os.environ['ROS_DOMAIN_ID'] = str(1 + os.getpid() % 100)
    if os.environ.get('ROS_DISTRO') == 'humble':
        os.environ['ROS_LOCALHOST_ONLY'] = '1'
    else:
        os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    context = rclpy.Context()
    try:
        context.init()
        yield context
    finally:
        context.try_shutdown()
        os.environ.clear()
        os.environ.update(saved)


class NodeProcess:
    """Runs an executable until the `with` block ends, then stops it with SIGINT.

    Args:
        name: name of the executable, which is that of its node.
        ros_args: arguments after `--ros-args`.
        log: file for its output.
    """

    _full_name = _failure = ''
    _was_configured = False

    def __init__(self, name: str, ros_args: list[str], log: Path) -> None:
        self.name, self.log = name, log
        with log.open('wb') as output:
            self._process = subprocess.Popen(  # noqa: S603 - an executable of this package
                [*command(name), '--ros-args', *ros_args],
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """True until the process ends."""
        return self._process.poll() is None

    def watch(self, node: Node, namespace: str = '') -> None:
        """Lets `check` detect a failed configuration, by the lifecycle state in diagnostics.

        Args:
            node: node that subscribes to the diagnostics; it must be spun.
            namespace: namespace of the child; '' for that of ``node``.
        """
        self._full_name = f'{namespace or node.get_namespace()}/{self.name}'.lstrip('/')
        node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.partition(':')[0] != self._full_name:
                continue
            state = {pair.key: pair.value for pair in status.values}.get('state')
            self._was_configured |= state in ('inactive', 'active')
            failed = state == 'unconfigured' and status.level == DiagnosticStatus.ERROR
            self._failure = status.message if failed and not self._was_configured else ''

    def check(self) -> None:
        """Checks that the process runs and, if watched, that its node could be configured.

        Raises:
            TinyBevError: the process has ended, or the configuration failed.
        """
        if self._failure:
            raise TinyBevError(f'{self.name} is not configured: {self._failure}')
        code = self._process.poll()
        if code is not None:
            lines = self.log.read_text(errors='replace').strip().splitlines()
            raise TinyBevError(
                f'{self.name} ended with exit code {code}: {lines[-1] if lines else "no output"} '
                f'(full output in {self.log})'
            )

    def wait(self) -> int:
        """Waits for the process to end by itself; returns its exit code."""
        return self._process.wait(_START_S)

    def send(self, number: signal.Signals) -> None:
        """Sends a signal."""
        self._process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGINT, times: int = 1) -> int:
        """Stops the process with a signal; returns its exit code."""
        for _ in range(times):
            if self.running:
                self._process.send_signal(number)
        try:
            return self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
