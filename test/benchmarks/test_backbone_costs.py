# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
import numpy as np
import torch

from benchmarks.engine import backbone_costs
from tiny_bev_ros.models import list_backbones


def test_every_backbone_is_measured(monkeypatch):
    small = backbone_costs.KITTI.__class__((0, 8), (-4, 4), (-3, 1), 0.25)
    monkeypatch.setattr(backbone_costs, 'KITTI', small)
    monkeypatch.setattr(backbone_costs, 'peak_mb', lambda *_, threads: 10.0 * threads)
    points = np.random.default_rng(0).uniform(-4, 8, (500, 4)).astype(np.float32)
    with torch.inference_mode():
        rows = backbone_costs.measure_backbones(points, threads=1, rounds=2)
    assert [row['backbone'] for row in rows] == list_backbones()
    assert all(len(row['engine_ms']) == len(row['pytorch_ms']) == 2 for row in rows)
    text = backbone_costs.backbone_table(rows)
    assert '| tiny | 300,352 | 0.1 G |' in text
    assert len(text.splitlines()) == 2 + len(rows)
