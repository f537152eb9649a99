# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from benchmarks.engine import fusion_costs


def test_every_stage_is_measured(monkeypatch):
    monkeypatch.setattr(fusion_costs, '_SIDES', (20,))
    monkeypatch.setattr(fusion_costs, 'peak_mb', lambda *_, threads: 10.0 * threads)
    rows = fusion_costs.measure_fusion(threads=1, rounds=2)
    assert [row['stage'] for row in rows] == [
        'camera encoder, 1242 x 375 pixels',
        'projected attention, 20 x 20 cells',
        'global attention, 20 x 20 cells',
    ]
    assert all(len(row['ms']) == 2 for row in rows)
    assert [round(row.get('computed_mb', 0)) for row in rows] == [0, 2, 13]
    text = fusion_costs.fusion_table(rows).splitlines()
    assert text[2].endswith('|  | 10 |')
    assert text[3].endswith('| 2 | 10 |')
