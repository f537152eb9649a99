# SPDX-License-Identifier: Apache-2.0
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
    assert [round(row.get('computed_mb', 0)) for row in rows] == [0, 1, 13]
    text = fusion_costs.fusion_table(rows).splitlines()
    assert text[2].endswith('|  | 10 |')
    assert text[3].endswith('| 1 | 10 |')
