# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

from optional_packages import require_packages

require_packages('numba')

import numpy as np
import torch

from benchmarks.engine import scaling
from benchmarks.engine.benchmark_inputs import backbone
from tiny_bev_ros.grid import BevGrid


def test_rows_of_both_curves(monkeypatch):
    monkeypatch.setattr(scaling, 'KITTI', BevGrid((0, 8), (-4, 4), (-3, 1), 0.5))
    monkeypatch.setattr(scaling, 'FRACTIONS', (0.1, 1.0))
    monkeypatch.setattr(scaling, 'SIDES', (20, 30))
    monkeypatch.setattr(scaling, 'PILLARS', 100)
    points = np.array([[1, 1, 0, 0], [-4, 2, 0, 0], [6, 0, 0, 0]], np.float32)
    with torch.inference_mode():
        found = scaling.measure_scaling(backbone(), points, 1, 2)
    assert [row['fraction'] for row in found['occupancy']] == [0.1, 1.0]
    assert [row['metres'] for row in found['range']] == [10.0, 15.0]
    assert [row['sweep_pillars'] for row in found['range']] == [2, 3]
    for name, others in (('occupancy', []), ('range', ['sweep'])):
        for row in found[name]:
            assert {key: len(ms) for key, ms in row['ms'].items()} == dict.fromkeys(
                ['always', 'auto', 'never', *others], 2
            )
