# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from forked_node import ForkedNode
from ros_graph import RosGraph

from benchmarks.gpu import node_run
from benchmarks.gpu.check_section import CheckSettings
from benchmarks.gpu.node_check import check_node
from tiny_bev_ros.grid import BevGrid

pytestmark = pytest.mark.dds


@pytest.fixture
def settings(graph: RosGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CheckSettings:
    monkeypatch.setattr(node_run, 'NodeProcess', ForkedNode)
    points = np.random.default_rng(0).uniform((0, -3, -2, 0), (6, 3, 0, 1), (300, 4))
    cloud = points.astype(np.float32)
    grid = BevGrid((0.0, 6.4), (-3.2, 3.2), (-3.0, 2.0), 0.2)
    return CheckSettings(
        torch.device('cpu'), (cloud, cloud[:100]), grid, tmp_path, 5, node_device='cpu'
    )


def test_the_node_answers_and_reports_its_device(settings: CheckSettings):
    result = check_node(settings)
    assert not result.failures and not result.skipped
    assert '5 clouds at 10 Hz' in result.text
    assert 'device cpu, precision float32' in result.text
    assert re.search(r'p50 / p95 [\d.]+ / [\d.]+ ms, 0 lost', result.text)


def test_a_node_without_the_device_fails_the_section(settings: CheckSettings):
    with pytest.raises(ValueError, match=r'pipeline_node is not configured: .*device'):
        check_node(replace(settings, node_device='cuda:99'))
