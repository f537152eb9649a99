# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import builtins
import sys
from pathlib import Path

import numpy as np
from torch import nn

from tiny_bev_ros.tools import bench


def without(monkeypatch, package: str) -> None:
    """As where it is not installed."""
    real = builtins.__import__

    def importing(name: str, *arguments, **keywords):
        if name.partition('.')[0] == package or package in name:
            raise ModuleNotFoundError(f'No module named {package!r}')
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, '__import__', importing)


def test_without_onnx_the_report_says_so(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(bench, '_CALIBRATION_SWEEPS', 0)
    without(monkeypatch, 'onnx')
    (line,) = bench.try_export(nn.Identity(), tmp_path)
    assert line == "ONNX Runtime is left out: ModuleNotFoundError: No module named 'onnx'"
    assert not list(tmp_path.iterdir())


def test_without_ros_the_report_says_so(monkeypatch, tmp_path: Path):
    monkeypatch.delitem(sys.modules, 'tiny_bev_ros.tools.bench_node', raising=False)
    monkeypatch.setitem(sys.modules, 'rclpy', None)
    options = argparse.Namespace(threads=[1], rounds=1)
    points = {'sweep 1': np.zeros((0, 4), np.float32)}
    result = bench.try_transport(points, 'sweep 1', options, tmp_path)
    (line,) = result.pop('left_out')
    assert result == {}
    assert line == (
        'The transport is left out: tiny_bev_ros.tools.bench_node cannot be used '
        '(rclpy is not installed)'
    )


def test_the_processor_has_a_name():
    assert bench.processor().strip()
