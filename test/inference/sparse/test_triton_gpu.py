# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Sparse path of Triton's kernels on a GPU: the dense result, without waiting."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from optional_packages import require_packages

require_packages('triton')

from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.sparse.sparse_path import random_pillars
from tiny_bev_ros.inference.triton_support import triton_unavailable_reason
from tiny_bev_ros.models import build_backbone, scatter, seeded

pytestmark = pytest.mark.gpu
CPU = torch.device('cpu')
SHAPE = (123, 98)


@pytest.fixture
def device() -> torch.device:
    device = torch.device('cuda', 0)
    if reason := triton_unavailable_reason(device):
        pytest.skip(reason)
    return device


@pytest.fixture
def _no_waits(device: torch.device) -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode('default')


@pytest.mark.usefixtures('_no_waits')
@pytest.mark.parametrize('name', ['tiny', 'deep', 'fpn'])
@pytest.mark.parametrize(
    ('precision', 'limit'), [('float32', 1e-4), ('bfloat16', 0.05), ('float16', 0.02)]
)
def test_frames(device: torch.device, name: str, precision: str, limit: float):
    with seeded(0):
        network = build_backbone(name).double().eval()
    frames = [random_pillars(fraction, 64, SHAPE, CPU) for fraction in (0.3, 0.02, 0.0, 1.0, 0.1)]
    with torch.inference_mode():
        wanted = [network(scatter(each.double(), cells, SHAPE)) for each, cells in frames]
        runner = BackboneRunner(network.float(), device, precision=precision, sparsity='always')
        runner.warm_up(SHAPE)
        assert runner.no_graph_reason == ''
        given = [(each.to(device), cells.contiguous().to(device)) for each, cells in frames]
        torch.cuda.set_sync_debug_mode('error')
        found = [runner.from_checked(*each, SHAPE).clone() for each in given]
        torch.cuda.set_sync_debug_mode('default')
    assert runner.statistics.path == 'sparse'
    for got, right in zip(found, wanted, strict=True):
        assert (got.cpu() - right).abs().max() <= limit * right.abs().max()
