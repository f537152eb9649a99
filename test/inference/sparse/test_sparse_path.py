# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""The choice between the sparse and the dense path, and the map of a warm-up."""

from __future__ import annotations

import math

import pytest
import torch
from acted_machine import Machine

from tiny_bev_ros.inference.backbone_paths import (
    CPU_MAX_WORK_FRACTION,
    TORCH_CUDA_MAX_ACTIVE_FRACTION_ESTIMATE,
    TRITON_MAX_ACTIVE_FRACTION_ESTIMATE,
    sparse_is_cheaper,
)
from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.sparse import sparse_path
from tiny_bev_ros.inference.sparse.sparse_path import random_pillars
from tiny_bev_ros.models import build_backbone, seeded

CPU = torch.device('cpu')
SHAPE = (100, 120)


def test_the_sparse_path_is_cheaper_up_to_a_work_fraction_on_the_cpu():
    limit = CPU_MAX_WORK_FRACTION
    assert 0 < limit < 1
    assert sparse_is_cheaper(0.0)
    assert sparse_is_cheaper(limit)
    assert not sparse_is_cheaper(limit + 1e-6)


@pytest.mark.parametrize('uses_triton', [False, True])
def test_the_sparse_path_is_taken_up_to_an_active_fraction_on_cuda(
    acted: Machine, monkeypatch: pytest.MonkeyPatch, uses_triton: bool
):
    if uses_triton:
        pytest.importorskip('triton')
    else:
        monkeypatch.setattr(sparse_path, 'triton_unavailable_reason', lambda _: 'not wanted here')
    limit = (
        TRITON_MAX_ACTIVE_FRACTION_ESTIMATE
        if uses_triton
        else TORCH_CUDA_MAX_ACTIVE_FRACTION_ESTIMATE
    )
    assert 0 < limit < 1
    with seeded(0):
        network = build_backbone('tiny', in_channels=4, mid_channels=4, out_channels=4).eval()
    runner = BackboneRunner(network, torch.device('cuda', 0))
    for fraction, path in ((limit, 'sparse'), (limit + 0.01, 'dense')):
        cells = torch.arange(int(fraction * 400))
        pillars = torch.ones(len(cells), 4), torch.stack([cells // 20, cells % 20], 1)
        runner.from_pillars(*pillars, (20, 20))
        acted.reset()
        with torch.inference_mode():
            runner.from_checked(*(each.to('cuda') for each in pillars), (20, 20))
        assert runner.statistics.path == path
        assert runner.statistics.active_fraction == len(cells) / 400
        # Only the copies to the device wait, and PyTorch's lists of sites.
        waits = acted.waits.total() - acted.waits['to device']
        assert (waits == 0) == (uses_triton or path == 'dense')
        assert math.isnan(runner.statistics.work_fraction) == (uses_triton or path == 'dense')


def test_random_maps_are_the_same_each_time():
    features, cells = random_pillars(0.1, 6, SHAPE, CPU)
    assert features.shape == (len(cells), 6)
    assert 0.08 < len(cells) / 12000 < 0.12
    assert len(torch.unique(cells, dim=0)) == len(cells)
    assert torch.equal(cells, random_pillars(0.1, 6, SHAPE, CPU)[1])
