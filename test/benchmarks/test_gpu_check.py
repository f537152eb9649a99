# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from acted_machine import Machine

from benchmarks.gpu import gpu_check
from benchmarks.gpu.check_section import CheckSettings, run_here
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models import resolve_device

GRID = BevGrid((0.0, 6.4), (-3.2, 3.2), (-3.0, 2.0), 0.2)
WIDTHS = {'in_channels': 8, 'mid_channels': 8, 'out_channels': 16}
# Numbers that leave room for stages that still wait more often.
MANY = {'pillars': 20, 'backbone': 20, 'heads': 20}


def clouds() -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(0)
    return tuple(
        random.uniform([0, -3.2, -3, 0], [6.4, 3.2, 1, 1], (count, 4)).astype(np.float32)
        for count in (200, 300)
    )


@pytest.fixture
def settings(acted: Machine, tmp_path: Path) -> CheckSettings:
    return CheckSettings(
        resolve_device('cuda'), clouds(), GRID, tmp_path, 2, ('fpn',), WIDTHS, MANY
    )


def test_all(settings, tmp_path):
    import time

    for name, (section, _) in gpu_check.SECTIONS.items():
        if name in ('tests', 'node'):
            continue
        t = time.time()
        r = run_here(section, settings, 0)
        print('=====', name, r.outcome, time.time() - t)
        print(r.failures)
        print(r.text)
        print(r.figures)
    assert 0
