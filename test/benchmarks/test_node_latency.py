# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import rclpy
from forked_node import ForkedNode
from ros_graph import RosGraph

from benchmarks.transport import node_latency
from tiny_bev_ros.errors import TinyBevError

pytestmark = pytest.mark.dds
ROUTES = (
    'pipeline_node, float16',
    'two processes, pillars, float16',
)


@pytest.fixture
def points() -> np.ndarray:
    points = np.random.default_rng(0).uniform((1, -30, -2, 0), (60, 30, 0, 1), (500, 4))
    return points.astype(np.float32)


@pytest.fixture(autouse=True)
def _two_routes(graph: RosGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    routes = {name: node_latency.ROUTES[name] for name in ROUTES}
    monkeypatch.setattr(node_latency, 'ROUTES', routes)
    monkeypatch.setattr(node_latency, 'STREAMED', ROUTES)
    monkeypatch.setattr(node_latency, '_TURNS', 1)
    monkeypatch.setattr(node_latency, 'NodeProcess', ForkedNode)


def test_routes_run_in_turn_and_leave_the_environment_unchanged(points, tmp_path: Path):
    before = dict(os.environ)
    times = node_latency.measure_latencies(points, 1, 2, tmp_path)
    assert tuple(times) == ROUTES
    assert all(len(ms) == 2 and min(ms) > 0 for ms in times.values())
    assert dict(os.environ) == before
    assert len(list(tmp_path.glob('route_*.log'))) == 3
    assert not rclpy.ok()


def test_streams_count_lost_clouds(points, tmp_path: Path):
    rows = node_latency.measure_streams([points, points[:100]], 1, tmp_path)
    assert [(row['name'], row['reliability']) for row in rows] == [
        (name, reliability) for reliability in ('reliable', 'best_effort') for name in ROUTES
    ]
    for row in rows:
        assert len(row['ms']) + row['lost'] == 10
        assert row['ms'], row


def test_a_node_that_does_not_start_is_reported(points, tmp_path: Path, monkeypatch):
    wrong = {'x': {'pipeline_node': ['backbone.name:=tinny']}}
    monkeypatch.setattr(node_latency, 'ROUTES', wrong)
    with pytest.raises(TinyBevError, match=r'pipeline_node is not configured: .*tinny'):
        node_latency.measure_latencies(points, 1, 1, tmp_path)
