# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Fixtures of all tests: sensor data, acted devices, a ROS graph; tests that need a GPU."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tiny_bev_ros.optional_imports import import_optional, take_notes

if TYPE_CHECKING:
    from acted_machine import Machine
    from ros_graph import RosGraph

# Folders of helpers, and the root with benchmarks/ and experiments/; `pythonpath` of pytest came
# after the version on Ubuntu 22.04.
_TEST = Path(__file__).resolve().parent
sys.path[:0] = [str(each) for each in (_TEST.parent, _TEST / 'helpers', _TEST / 'system')]
# Each process of a test run has a ROS graph of its own: a node of another process, with the same
# name, would be a warning in the diagnostics. Above 101, ports run out.
os.environ['ROS_DOMAIN_ID'] = str(1 + os.getpid() % 100)
if os.environ.get('ROS_DISTRO') == 'humble':
    os.environ['ROS_LOCALHOST_ONLY'] = '1'
else:
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
# Test modules that were skipped as a whole, by reason.
_LEFT_OUT: dict[str, list[str]] = {}


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Keeps the modules that `require_packages` skipped."""
    if report.skipped and isinstance(report.longrepr, tuple):
        _LEFT_OUT.setdefault(report.longrepr[2], []).append(report.nodeid)


def pytest_report_collectionfinish() -> list[str]:
    """Reports, before the tests run, what is left out and why."""
    return [
        f'left out: {", ".join(modules)} ({reason.removeprefix("Skipped: ")})'
        for reason, modules in _LEFT_OUT.items()
    ]


@pytest.fixture(autouse=True)
def _optional_packages() -> Iterator[None]:
    """Hides from each test the stand-ins of packages that another test made."""
    import_optional.cache_clear()
    yield
    import_optional.cache_clear()
    take_notes()


@pytest.fixture(scope='session')
def data_dir() -> Path:
    """Folder of real sensor data; skips the test where it is absent."""
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get('TINY_BEV_DATA', root.parent / 'shared' / 'data'))
    if not folder.is_dir():
        pytest.skip(f'no sensor data in {folder} (set TINY_BEV_DATA)')
    return folder


@pytest.fixture(scope='session', autouse=True)
def _own_networks() -> Iterator[None]:
    """Gives nodes in this process random weights unless a test names others."""
    with pytest.MonkeyPatch.context() as patch:
        if import_optional('rclpy').module is not None:
            patch.setattr('tiny_bev_ros.nodes.shipped_weights.AUTO', 'none')
        yield


@pytest.fixture
def acted() -> Iterator[Machine]:
    """Two CUDA devices that the CPU acts."""
    from acted_cuda import acted_cuda

    with acted_cuda(2) as machine:
        yield machine


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[RosGraph]:
    """ROS graph of real processes; needs the built package."""
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix
    from ros_graph import RosGraph

    try:
        get_package_prefix('tiny_bev_ros')
    except PackageNotFoundError:
        pytest.skip('tiny_bev_ros is not built, or its install/local_setup.bash not sourced')
    graph = RosGraph(tmp_path)
    yield graph
    graph.close()


def pytest_collection_finish() -> None:
    """Excludes imported objects from garbage collection, which nodes run at each change."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    gpu_items = [item for item in items if item.get_closest_marker('gpu')]
    if not gpu_items:
        return
    import torch

    if not torch.cuda.is_available():
        for item in gpu_items:
            item.add_marker(pytest.mark.skip(reason='no CUDA device'))
