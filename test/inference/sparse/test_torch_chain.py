# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Sparse path in plain PyTorch: results equal to those of the dense network."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from acted_machine import Machine
from dense_chain import dense, difference, tiny_layers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tiny_bev_ros.inference.sparse import torch_chain
from tiny_bev_ros.inference.sparse.layer_chain import as_chain
from tiny_bev_ros.inference.sparse.sparse_path import random_pillars
from tiny_bev_ros.inference.sparse.torch_chain import TorchChain
from tiny_bev_ros.models import scatter, seeded

CPU = torch.device('cpu')
DEVICES = ['cpu', pytest.param('cuda', marks=pytest.mark.gpu)]
SHAPE = (33, 46)
KERNEL_AND_STRIDE = st.tuples(st.sampled_from([1, 3]), st.integers(1, 3))


@pytest.mark.parametrize('name', DEVICES)
def test_results_equal_those_of_the_dense_chain(name: str):
    chain, device = tiny_layers(), torch.device(name)
    sparse = TorchChain(chain, SHAPE, torch.float32, device)
    # More sites than the buffers hold, fewer, and none.
    for fraction in (0.02, 0.4, 0.1, 0.0, 1.0):
        features, cells = random_pillars(fraction, 6, SHAPE, CPU)
        sparse.find(cells.to(device))
        got = sparse.compute(features.to(device))
        assert got.dtype == torch.float32
        assert got.device.type == name
        assert difference(got, dense(chain, scatter(features, cells, SHAPE))) < 1e-5


@given(
    rows=st.integers(1, 40),
    cols=st.integers(1, 40),
    fraction=st.sampled_from([0.0, 0.01, 0.1, 1.0]),
    shapes=st.lists(KERNEL_AND_STRIDE, min_size=1, max_size=4),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_chain(rows: int, cols: int, fraction: float, shapes: list[tuple[int, int]]):
    with seeded(rows + cols):
        convs = [nn.Conv2d(4, 4, kernel, stride, kernel // 2) for kernel, stride in shapes]
        chain = as_chain(nn.Sequential(*convs, nn.ReLU()).eval())
    sparse = TorchChain(chain, (rows, cols), torch.float32, CPU)
    features, cells = random_pillars(fraction, 4, (rows, cols), CPU)
    sparse.find(cells)
    wanted = dense(chain, scatter(features, cells, (rows, cols)))
    torch.testing.assert_close(sparse.compute(features), wanted, atol=1e-5, rtol=1e-5)


def test_sites_of_many_blocks(monkeypatch):
    monkeypatch.setattr(torch_chain, '_CPU_BLOCK', 7 * 9 * 6 * 4)
    chain = tiny_layers()
    sparse = TorchChain(chain, SHAPE, torch.float32, CPU)
    features, cells = random_pillars(0.2, 6, SHAPE, CPU)
    sparse.find(cells)
    wanted = dense(chain, scatter(features, cells, SHAPE))
    assert difference(sparse.compute(features), wanted) < 1e-5


def test_multiplications_are_those_of_the_active_sites():
    chain = tiny_layers()
    sparse = TorchChain(chain, SHAPE, torch.float32, CPU)
    weights = [layer.weight.numel() for layer in chain]
    assert [layer.stride for layer in chain] == [1, 1, 1, 2, 1]
    assert [layer.kernel for layer in chain] == [1, 3, 3, 3, 3]
    # One cell in the middle: one more ring per 3x3, thinned out by stride 2.
    assert sparse.find(torch.tensor([[16, 20]])) == sum(
        sites * weight for sites, weight in zip((1, 9, 25, 9, 25), weights, strict=True)
    )
    assert sparse.find(torch.zeros(0, 2, dtype=torch.int64)) == 0


def test_two_result_buffers_take_turns():
    sparse = TorchChain(tiny_layers(), SHAPE, torch.float32, CPU)
    results = []
    for fraction in (0.1, 0.2, 0.3):
        features, cells = random_pillars(fraction, 6, SHAPE, CPU)
        sparse.find(cells)
        results.append(sparse.compute(features))
    assert results[0].data_ptr() == results[2].data_ptr() != results[1].data_ptr()


@pytest.mark.parametrize('name', DEVICES)
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_lower_precision(name: str, dtype: torch.dtype):
    chain, device = tiny_layers(), torch.device(name)
    sparse = TorchChain(chain, SHAPE, dtype, device)
    features, cells = random_pillars(0.1, 6, SHAPE, CPU)
    sparse.find(cells.to(device))
    wanted = dense(chain, scatter(features, cells, SHAPE))
    got = sparse.compute(features.to(device)).cpu()
    assert (got - wanted).norm() / wanted.norm() < 0.01


def test_active_cells_of_a_canvas():
    canvas = torch.zeros(6, *SHAPE)
    canvas[2, 0, 0], canvas[5, 32, 45] = 1e-40, -3.0
    canvas[1, 7, 8], canvas[3, 9, 9] = float('nan'), -0.0
    features, cells = TorchChain(tiny_layers(), SHAPE, torch.float32, CPU).active(canvas)
    assert cells.tolist() == [[0, 0], [7, 8], [32, 45]]
    torch.testing.assert_close(features, canvas[:, [0, 7, 32], [0, 8, 45]].t(), equal_nan=True)


def test_the_host_waits_once_for_the_device(acted: Machine):
    chain, device = tiny_layers(), torch.device('cuda', 0)
    sparse = TorchChain(chain, SHAPE, torch.float32, device)
    for fraction in (0.1, 0.0, 1.0):
        features, cells = random_pillars(fraction, 6, SHAPE, device)
        acted.reset()
        macs = sparse.find(cells)
        got = sparse.compute(features)
        assert acted.waits.total() == 1
        wanted = dense(chain, scatter(features.cpu(), cells.cpu(), SHAPE))
        assert difference(got, wanted) < 1e-5
        assert macs == TorchChain(chain, SHAPE, torch.float32, CPU).find(cells.cpu())


def test_an_engine_where_numba_is_missing():
    program = """
import sys

sys.modules['numba'] = None  # As if it were not installed.
import torch
from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.models import TinyBEVBackbone

network = TinyBEVBackbone(6, 5, 7).eval()
engine = BackboneRunner(network, torch.device('cpu'), sparsity='always')
canvas = torch.zeros(1, 6, 20, 20)
canvas[:, :, 3, 4] = 1
torch.testing.assert_close(engine(canvas), network(canvas).detach(), atol=1e-5, rtol=1e-5)
assert engine.statistics.path == 'sparse', engine.statistics
assert engine.dense_reason == '', engine.dense_reason
"""
    done = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
