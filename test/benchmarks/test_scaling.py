# SPDX-License-Identifier: Apache-2.0
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
