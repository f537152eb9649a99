# SPDX-License-Identifier: Apache-2.0
from tiny_bev_ros.tools import bench_fusion


def test_every_stage_is_measured(monkeypatch):
    monkeypatch.setattr(bench_fusion, '_SIDES', (20,))
    monkeypatch.setattr(bench_fusion, 'peak_mb', lambda *_, threads: 10.0 * threads)
    rows = bench_fusion.fusion(threads=1, rounds=2)
    assert [row['stage'] for row in rows] == [
        'camera encoder, 1242 x 375 pixels',
        'projected attention, 20 x 20 cells',
        'global attention, 20 x 20 cells',
    ]
    assert all(len(row['ms']) == 2 for row in rows)
    assert [round(row.get('computed_mb', 0)) for row in rows] == [0, 1, 13]
    text = bench_fusion.as_markdown(rows).splitlines()
    assert text[2].endswith('|  | 10 |')
    assert text[3].endswith('| 1 | 10 |')
