# SPDX-License-Identifier: Apache-2.0
import numpy as np
import torch

from tiny_bev_ros.models import list_backbones
from tiny_bev_ros.tools import bench_backbones


def test_every_backbone_is_measured(monkeypatch):
    small = bench_backbones.KITTI.__class__((0, 8), (-4, 4), (-3, 1), 0.25)
    monkeypatch.setattr(bench_backbones, 'KITTI', small)
    monkeypatch.setattr(bench_backbones, 'peak_mb', lambda *_, threads: 10.0 * threads)
    points = np.random.default_rng(0).uniform(-4, 8, (500, 4)).astype(np.float32)
    with torch.inference_mode():
        rows = bench_backbones.backbones(points, threads=1, rounds=2)
    assert [row['backbone'] for row in rows] == list_backbones()
    assert all(len(row['engine_ms']) == len(row['pytorch_ms']) == 2 for row in rows)
    text = bench_backbones.as_markdown(rows)
    assert '| tiny | 300,352 | 0.1 G |' in text
    assert len(text.splitlines()) == 2 + len(rows)
