# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Executables of the package, forked from a process that has imported PyTorch already.

Every process that imports PyTorch and the nodes needs three seconds of one core for it. A server
imports them once and forks; its children run the entry points of the real executables, with
their own signals, environment and output. Tests of the start itself use NodeProcess.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing.context import ForkServerContext
from pathlib import Path

from tiny_bev_ros.runtime.node_process import NodeProcess

_MODULES = ['tiny_bev_ros.nodes.pipeline_node', 'tiny_bev_ros.inference.fused_pfn']


class ForkedNode(NodeProcess):
    """NodeProcess whose executable has its imports already."""

    def __init__(self, name: str, ros_args: list[str], log: Path) -> None:
        self.name, self.log = name, log
        self._process = _Child(name, ros_args, log)


class _Child:
    """Forked process with the methods of Popen."""

    def __init__(self, name: str, ros_args: list[str], log: Path) -> None:
        log.write_bytes(b'')
        self._process = _server().Process(
            target=_run, args=(name, ros_args, log, dict(os.environ)), daemon=True
        )
        self._process.start()
        self.pid: int = self._process.pid or 0

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, seconds: float | None = None) -> int:
        self._process.join(seconds)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired('forked node', seconds or 0.0)
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()


def _server() -> ForkServerContext:
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(_MODULES)
    return context


def _run(name: str, ros_args: list[str], log: Path, environment: dict[str, str]) -> None:
    with log.open('ab', buffering=0) as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [name, '--ros-args', *ros_args]
    from tiny_bev_ros.nodes import main

    getattr(main, name)()
