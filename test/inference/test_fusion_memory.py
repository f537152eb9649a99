# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Predicted memory of the fusion, beside that of a whole process."""

import os

import pytest
import torch

from benchmarks.engine.fusion_costs import fusing, grid, parts
from benchmarks.peak_memory import peak_mb
from tiny_bev_ros.inference.fusion_memory import (
    attention_is_fused,
    global_bytes,
    projected_bytes,
)
from tiny_bev_ros.inference.memory import free_bytes

MIB = 2**20


@pytest.mark.skipif(
    not os.access('/proc/self/clear_refs', os.W_OK), reason='no peaks are told by this system'
)
@pytest.mark.parametrize('mode', ['projected', 'global'])
def test_at_200_by_200_cells_and_one_image(mode):
    stage, _, camera = parts(mode)
    computed = stage.needed_bytes(grid(200), [camera]) / 1e6
    measured = peak_mb(fusing, mode, 200, threads=1)
    assert 0.75 * computed < measured < 1.25 * computed
    assert measured < 250


def test_weights_that_are_stored_do_not_fit_4_gb():
    stored = global_bytes(40_000, 156 * 47, 128, 4, fused=False)
    fused = global_bytes(40_000, 156 * 47, 128, 4, fused=True)
    assert fused < 200 * MIB < 4096 * MIB < stored


def test_projected_grows_with_what_is_seen():
    assert projected_bytes(100, 0, 0, 128) == 4 * 100 * 128
    assert projected_bytes(100, 50, 150, 128) == 4 * (100 + 5 * 50) * 128 + 64 * 150


def test_free_memory_of_the_cpu():
    total = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    assert 0 < free_bytes(torch.device('cpu')) <= total


def test_without_knowing_the_kernel_the_worst_is_taken(monkeypatch):
    monkeypatch.delattr(torch, '_fused_sdp_choice', raising=False)
    assert attention_is_fused(torch.device('cpu'), torch.float32, 32) is False


@pytest.mark.gpu
def test_free_memory_of_a_gpu():
    cuda = torch.device('cuda')
    assert 0 < free_bytes(cuda) <= torch.cuda.get_device_properties(cuda).total_memory
