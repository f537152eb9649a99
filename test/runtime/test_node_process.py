# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Child processes of executables: failed configurations are detected in diagnostics."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.runtime import node_process


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> node_process.NodeProcess:
    monkeypatch.setattr(node_process, 'command', lambda name: ['sleep', '60'])
    monkeypatch.setattr(
        node_process.subprocess, 'Popen', lambda *_, **__: SimpleNamespace(poll=lambda: None)
    )
    return node_process.NodeProcess('camera_node', [], tmp_path / 'log')


def watched(process: node_process.NodeProcess, *namespace: str) -> Any:
    callbacks = []
    node: Any = SimpleNamespace(
        get_namespace=lambda: '/demo',
        create_subscription=lambda *arguments: callbacks.append(arguments[2]),
    )
    process.watch(node, *namespace)
    return callbacks[0]


def diagnostics(name: str, state: str, level: bytes = DiagnosticStatus.ERROR) -> DiagnosticArray:
    status = DiagnosticStatus(name=f'{name}: text', level=level, message='device is none')
    status.values = [KeyValue(key='state', value=state)]
    return DiagnosticArray(status=[status])


@pytest.mark.parametrize(
    ('namespace', 'name'), [((), 'demo/camera_node'), (('/demo/front',), 'demo/front/camera_node')]
)
def test_a_failed_configuration_is_raised(process, namespace, name):
    receive = watched(process, *namespace)
    receive(diagnostics('demo/left/camera_node', 'unconfigured'))
    receive(diagnostics(name, 'unconfigured', DiagnosticStatus.OK))
    process.check()
    receive(diagnostics(name, 'unconfigured'))
    with pytest.raises(TinyBevError, match='camera_node is not configured: device is none'):
        process.check()


def test_a_fault_after_configuration_is_not_raised(process):
    receive = watched(process)
    receive(diagnostics('demo/camera_node', 'active', DiagnosticStatus.OK))
    receive(diagnostics('demo/camera_node', 'unconfigured'))
    process.check()
