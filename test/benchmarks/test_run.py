# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks import run


def test_the_module_is_a_program():
    command = [sys.executable, '-m', 'benchmarks.run', '--help']
    done = subprocess.run(
        command, cwd=Path(run.__file__).parents[1], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith('usage: python -m benchmarks.run')


def test_without_ros_the_report_says_so(monkeypatch, tmp_path: Path):
    monkeypatch.delitem(sys.modules, 'benchmarks.transport.node_latency', raising=False)
    monkeypatch.setitem(sys.modules, 'rclpy', None)
    options = argparse.Namespace(threads=[1], rounds=1)
    points = {'sweep 1': np.zeros((0, 4), np.float32)}
    result = run.try_transport(points, 'sweep 1', options, tmp_path)
    (line,) = result.pop('left_out')
    assert result == {}
    assert line == (
        'The transport is left out: benchmarks.transport.node_latency cannot be used '
        '(rclpy is not installed)'
    )


def test_clouds_of_one_kind():
    points = {label: np.zeros((0, 4), np.float32) for label in ('sweep 1', 'front 1', 'sweep 2')}
    assert list(run.of_kind(points, 'sweep 1')) == ['sweep 1', 'sweep 2']
