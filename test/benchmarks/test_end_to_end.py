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

from benchmarks.engine import end_to_end as ends
from benchmarks.engine.benchmark_inputs import backbone
from tiny_bev_ros.grid import BevGrid


def test_both_straightforward_methods_agree_and_every_stage_is_timed(monkeypatch):
    monkeypatch.setattr(ends, 'KITTI', BevGrid((0, 8), (-4, 4), (-3, 1), 0.5))
    results = {}

    def once(work, rounds):
        results.update({name: run() for name, run in work.items()})
        return {name: [1.0] * rounds for name in work}

    monkeypatch.setattr(ends, 'interleaved', once)
    points = np.random.default_rng(0).uniform((0, -4, -2, 0), (8, 4, 1, 1), (900, 4))
    with torch.inference_mode():
        rows = ends.measure_end_to_end(points.astype(np.float32), backbone(), 1, 2)
    assert [row['name'] for row in rows if row['whole']] == list(results)[:4]
    assert sum(not row['whole'] for row in rows) == 9
    padded, capped = results[ends.PADDED], results[ends.CAPPED]
    assert (padded - capped).abs().max() < 1e-5 * capped.abs().max()
    # The engine takes every point and no padding, so its result differs.
    engine = results['pillars to engine, float32']
    assert engine.shape == capped.shape
    assert torch.equal(engine, results['engine: float32'])
