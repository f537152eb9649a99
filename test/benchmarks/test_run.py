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
import builtins
import subprocess
import sys
from pathlib import Path

import numpy as np
from torch import nn

from benchmarks import run


def without(monkeypatch, package: str) -> None:
    """Makes imports of a package fail, as if it were not installed."""
    real = builtins.__import__

    def importing(name: str, *arguments, **keywords):
        if name.partition('.')[0] == package or package in name:
            raise ModuleNotFoundError(f'No module named {package!r}')
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, '__import__', importing)


def test_the_module_is_a_program():
    command = [sys.executable, '-m', 'benchmarks.run', '--help']
    done = subprocess.run(
        command, cwd=Path(run.__file__).parents[1], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith('usage: python -m benchmarks.run')


def test_without_onnx_the_report_says_so(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(run, '_CALIBRATION_SWEEPS', 0)
    without(monkeypatch, 'onnx')
    (line,) = run.try_export(nn.Identity(), tmp_path)
    assert line == "ONNX Runtime is left out: ModuleNotFoundError: No module named 'onnx'"
    assert not list(tmp_path.iterdir())


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


def test_the_processor_has_a_name():
    assert run.processor().strip()
