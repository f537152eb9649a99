# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.

from optional_packages import require_packages

require_packages('numba')

import numpy as np
import pytest

from benchmarks.engine import detection_costs


def test_every_stage_is_timed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(detection_costs, 'MAPS', {'ahead': ((0.0, 12.8), (-6.4, 6.4))})
    random = np.random.default_rng(0)
    points = random.uniform([0, -6, -2, 0], [12, 6, 1, 1], (2000, 4)).astype(np.float32)
    rows = detection_costs.measure_detection(points, 1, 2)
    stages = {row['stage'] for row in rows if row['precision'] == 'float32'}
    assert stages == {'pillars', 'backbone', 'heads', 'refinement'}
    assert all(len(row['ms']) == 2 and min(row['ms']) > 0 for row in rows)
    table = detection_costs.detection_table(rows).splitlines()
    assert '| second stage |' in table[0]
    assert table[2].startswith('| ahead | float32 |')
