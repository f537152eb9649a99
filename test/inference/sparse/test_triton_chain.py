# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Sparse path of Triton's kernels, run by the interpreter: results of the dense chain."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from optional_packages import require_packages

require_packages('triton')

from acted_machine import Machine
from dense_chain import dense, difference, tiny_layers
from torch import nn
from triton_interpreter import patch_launches

from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer, as_chain
from tiny_bev_ros.inference.sparse.sparse_path import random_pillars
from tiny_bev_ros.inference.sparse.triton_chain import TritonChain
from tiny_bev_ros.models import build_backbone, resolve_device, scatter, seeded

CPU = torch.device('cpu')
SHAPE = (33, 46)
FLOAT32 = torch.float32


@pytest.fixture(scope='module')
def interpreted() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        patch_launches(patch)
        yield patch


def check(
    sparse: TritonChain, chain: tuple[ConvLayer, ...], fraction: float, limit: float
) -> None:
    """Compares a frame of random pillars with the dense chain."""
    channels = chain[0].weight.shape[1]
    features, cells = random_pillars(fraction, channels, SHAPE, CPU)
    sparse.find(cells)
    wanted = dense(chain, scatter(features, cells, SHAPE))
    assert difference(sparse.compute(features), wanted) < limit


def test_results_equal_those_of_the_dense_chain(interpreted: pytest.MonkeyPatch):
    chain = tiny_layers()
    sparse = TritonChain(chain, SHAPE, FLOAT32, CPU)
    # Each output is used again after a fuller frame, an emptier one, and one without pillars.
    for fraction in (0.4, 0.02, 0.1, 0.3, 0.0, 1.0, 0.01, 0.0):
        check(sparse, chain, fraction, 1e-5)


def test_sites_of_many_programs(interpreted: pytest.MonkeyPatch):
    chain = tiny_layers()[:2]
    with pytest.MonkeyPatch.context() as patch:
        patch_launches(patch, sites=64, tile=16)
        check(TritonChain(chain, SHAPE, FLOAT32, CPU), chain, 0.2, 1e-5)


@given(
    rows=st.integers(1, 40),
    cols=st.integers(1, 40),
    fraction=st.sampled_from([0.0, 0.01, 0.1, 1.0]),
    shapes=st.lists(
        st.tuples(st.sampled_from([1, 3]), st.integers(1, 3), st.sampled_from([1, 4, 17])),
        min_size=1,
        max_size=3,
    ),
)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_any_chain(
    interpreted: pytest.MonkeyPatch,
    rows: int,
    cols: int,
    fraction: float,
    shapes: list[tuple[int, int, int]],
):
    convs, channels = [], 4
    with seeded(rows + cols):
        for kernel, stride, out_channels in shapes:
            convs.append(nn.Conv2d(channels, out_channels, kernel, stride, kernel // 2))
            channels = out_channels
        chain = as_chain(nn.Sequential(*convs, nn.ReLU()).eval())
    sparse = TritonChain(chain, (rows, cols), FLOAT32, CPU)
    features, cells = random_pillars(fraction, 4, (rows, cols), CPU)
    wanted = dense(chain, scatter(features, cells, (rows, cols)))
    for _ in range(2):
        sparse.find(cells)
        torch.testing.assert_close(sparse.compute(features), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(('channels', 'out_channels'), [(64, 130), (70, 64)])
def test_channels_of_several_blocks(
    interpreted: pytest.MonkeyPatch, channels: int, out_channels: int
):
    with seeded(0):
        convs = [
            nn.Conv2d(channels, out_channels, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 1),
        ]
        chain = as_chain(nn.Sequential(*convs).eval())
    sparse = TritonChain(chain, SHAPE, FLOAT32, CPU)
    for fraction in (0.1, 0.3, 0.05):
        check(sparse, chain, fraction, 1e-5)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_lower_precision(interpreted: pytest.MonkeyPatch, dtype: torch.dtype):
    chain = tiny_layers()
    sparse = TritonChain(chain, SHAPE, dtype, CPU)
    check(sparse, chain, 0.1, 0.02)
    assert sparse.compute(torch.zeros(0, 6)).dtype == dtype


def test_two_outputs_take_turns_and_are_channels_last(interpreted: pytest.MonkeyPatch):
    chain = tiny_layers()
    sparse = TritonChain(chain, SHAPE, FLOAT32, CPU)
    results, values = [], []
    for fraction in (0.1, 0.2, 0.3):
        features, cells = random_pillars(fraction, 6, SHAPE, CPU)
        sparse.find(cells)
        results.append(sparse.compute(features))
        values.append(results[-1].clone())
    assert results[0].data_ptr() == results[2].data_ptr() != results[1].data_ptr()
    assert torch.equal(results[1], values[1])
    assert results[0][None].is_contiguous(memory_format=torch.channels_last)


def test_a_pillar_that_is_nan_reaches_its_receptive_field_alone(interpreted: pytest.MonkeyPatch):
    chain = tiny_layers()
    sparse = TritonChain(chain, SHAPE, FLOAT32, CPU)
    features, cells = torch.full((1, 6), float('nan')), torch.tensor([[16, 20]])
    sparse.find(cells)
    found = sparse.compute(features).isnan()
    assert torch.equal(found, dense(chain, scatter(features, cells, SHAPE)).isnan())
    assert found.any()
    sparse.find(cells[:0])
    sparse.compute(features[:0])
    sparse.find(cells[:0])
    assert not sparse.compute(features[:0]).isnan().any()


def runner_of(name: str, precision: str = 'float32', sparsity: str = 'always') -> BackboneRunner:
    with seeded(0):
        network = build_backbone(name, in_channels=8, mid_channels=8, out_channels=16).eval()
    return BackboneRunner(
        network, resolve_device('cuda:1'), precision=precision, sparsity=sparsity
    )


@pytest.mark.parametrize(('name', 'copies'), [('tiny', 0), ('deep', 0), ('fpn', 1)])
@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_a_frame_is_one_recording_for_which_the_host_never_waits(
    acted: Machine, name: str, copies: int, precision: str
):
    runner = runner_of(name, precision)
    runner.warm_up((16, 16))
    assert runner.no_graph_reason == ''
    features, cells = random_pillars(0.1, 8, (16, 16), runner._device)
    cells = cells.contiguous()  # as those of a PillarRunner
    for _ in range(2):
        acted.reset()
        with torch.inference_mode():
            runner.from_checked(features, cells, (16, 16))
        assert runner.statistics.path == 'sparse'
        assert acted.waits.total() == 0
        # The index map is cleared and the pillars are written; all else is recorded.
        assert acted.launches.pop('graph') == 1
        assert acted.launches.pop('mark_pillars') == 1
        assert acted.launches.pop('zero_') == 1
        assert acted.launches.pop('copy_', 0) <= copies
        assert not acted.launches
        assert acted.copied.total() == 0


def test_the_host_waits_once_for_a_whole_pseudo_image(acted: Machine):
    runner = runner_of('tiny')
    features, cells = random_pillars(0.1, 8, (16, 16), runner._device)
    canvas = scatter(features, cells, (16, 16))
    wanted = runner.from_pillars(features, cells, (16, 16)).cpu()
    acted.reset()
    found = runner(canvas)
    assert acted.waits.total() == 1
    torch.testing.assert_close(found.cpu(), wanted)


def test_features_of_frames_alternate_where_a_network_follows_the_chain(acted: Machine):
    runner = runner_of('fpn')
    features, cells = random_pillars(0.1, 8, (16, 16), runner._device)
    first = runner.from_pillars(features, cells, (16, 16))
    kept = first.cpu()
    second = runner.from_pillars(2 * features, cells, (16, 16))
    assert torch.equal(first.cpu(), kept)
    assert not torch.equal(second.cpu(), kept)


def test_memory_on_the_device_stays_as_it_is(acted: Machine):
    runner = runner_of('tiny')
    allocated = []
    for fraction in (0.1, 1.0, 0.1):
        features, cells = random_pillars(fraction, 8, (16, 16), runner._device)
        runner.from_pillars(features, cells, (16, 16))
        allocated.append(acted.allocated)
    assert allocated[0] == allocated[2]
    assert allocated[1] - allocated[0] < 256 * (8 * 4 + 2 * 8)  # the pillars themselves
    runner.release()
    assert acted.allocated < allocated[0]
