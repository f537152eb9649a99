# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Predicted memory of backbones, beside that of their buffers and of a whole process."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch
from acted_machine import Machine

from benchmarks.peak_memory import peak_mb
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference import backbone_memory, backbone_paths, memory, pillar_runner
from tiny_bev_ros.inference.backbone_memory import BackboneMemory, dense_bytes, triton_bytes
from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.memory import NotEnoughMemoryError
from tiny_bev_ros.inference.sparse import sparse_path
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer
from tiny_bev_ros.inference.sparse.sparse_path import WARMUP_FRACTION, make_chain, warm_up
from tiny_bev_ros.models import build_backbone, list_backbones

CPU, CUDA = torch.device('cpu'), torch.device('cuda')
SHAPE = (200, 240)


def held_bytes(*things: Any) -> int:
    """Sums the bytes of all arrays and tensors that can be reached, each memory once."""
    found: dict[int, int] = {}
    seen: set[int] = set()
    waiting = list(things)
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, torch.Tensor):
            storage = each.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
        elif isinstance(each, np.ndarray):
            if each.base is None:
                found[each.ctypes.data] = each.nbytes
        elif isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, (list, tuple)):
            waiting += each
        elif type(each).__module__.startswith('tiny_bev_ros'):
            waiting.append(vars(each))
    return sum(found.values())


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ('path', 'name'), [('numba', 'tiny'), ('numba', 'fpn'), ('torch', 'tiny')]
)
def test_the_buffers_of_a_sparse_path_are_those_that_were_computed(monkeypatch, path, name, dtype):
    if path == 'numba':
        pytest.importorskip('numba')
    if path == 'torch':
        monkeypatch.setattr(sparse_path, 'numba_unavailable_reason', lambda: 'not wanted here')
    needs = BackboneMemory.from_backbone(build_backbone(name).eval())
    after = torch.relu if needs.followed else None
    sparse = make_chain(needs.layers, SHAPE, dtype, CPU, threads=1, after=after)
    warm_up(sparse, 64, SHAPE, CPU)
    held = held_bytes(sparse) - held_bytes(needs.layers)
    if path == 'numba':  # as large as the map, of which only written pages take memory
        written = WARMUP_FRACTION
        held -= sum(each.nbytes * (1 - written) for each in (sparse._cells, sparse._features))
    computed = needs.bytes(SHAPE, dtype, CPU, 'always')
    if needs.followed:  # by a part that is counted as two output maps
        computed -= 2 * dtype.itemsize * SHAPE[0] * SHAPE[1] // 4 * needs.channels
    assert 0.8 * computed < held < 1.2 * computed


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('followed', [False, True])
def test_the_buffers_of_triton_are_those_that_were_computed(dtype, followed):
    pytest.importorskip('triton')
    from tiny_bev_ros.inference.sparse.triton_chain import TritonChain

    layers = BackboneMemory.from_backbone(build_backbone('tiny').eval()).layers
    after = torch.relu if followed else None
    chain = TritonChain(layers, SHAPE, dtype, CPU, None, after)
    held = held_bytes(chain, [work._work.args[0] for work in chain._works]) - held_bytes(layers)
    computed = triton_bytes(layers, SHAPE, dtype, followed)
    assert 0.9 * computed < held < 1.1 * computed


def test_copies_of_a_recorded_result_are_counted(monkeypatch):
    monkeypatch.setattr(backbone_memory, 'uses_triton', lambda _: True)
    needs = BackboneMemory.from_backbone(build_backbone('fpn').eval())
    output = 4 * SHAPE[0] * SHAPE[1] // 4 * needs.channels
    chain = triton_bytes(needs.layers, SHAPE, torch.float32, True)
    # Two maps of the part that follows the chain, and two copies of its result.
    assert needs.bytes(SHAPE, torch.float32, CUDA, 'always') == chain + 4 * output


@pytest.mark.skipif(
    not os.access('/proc/self/clear_refs', os.W_OK), reason='no peaks are told by this system'
)
def test_the_dense_path_takes_what_was_computed():
    layers = BackboneMemory.from_backbone(build_backbone('tiny').eval()).layers
    given = 4 * 64 * SHAPE[0] * SHAPE[1] / 1e6
    computed = dense_bytes(layers, SHAPE, torch.float32, CPU) / 1e6 - given
    measured = peak_mb(dense_frame, SHAPE, threads=1)
    assert 0.75 * computed < measured < 1.25 * computed


def dense_frame(shape: tuple[int, int]) -> Any:
    runner = BackboneRunner(build_backbone('tiny').eval(), CPU, sparsity='never')
    canvas = torch.rand(1, 64, *shape)
    return lambda: runner(canvas)


def test_formula_of_the_dense_path():
    layers = (
        ConvLayer(torch.zeros(8, 4, 3, 3), torch.zeros(8), stride=2, relu=True),
        ConvLayer(torch.zeros(6, 8, 1, 1), torch.zeros(6), stride=1, relu=True),
    )
    canvas, middle, last, weights = 4 * 30 * 20, 8 * 15 * 10, 6 * 15 * 10, 8 * 4 * 9 + 6 * 8
    size, values = (30, 20), weights + canvas + middle + last
    assert dense_bytes(layers, size, torch.float32, CPU) == 4 * (canvas + values)
    assert dense_bytes(layers, size, torch.bfloat16, CUDA) == 2 * values


# The acted device upsamples maps of bfloat16 in float32, which a GPU does not.
@pytest.mark.parametrize(
    ('name', 'precision'), [('tiny', 'float32'), ('tiny', 'bfloat16'), ('fpn', 'float32')]
)
def test_the_dense_path_of_a_gpu_takes_what_was_computed(acted: Machine, name, precision):
    device = torch.device('cuda', 0)
    runner = BackboneRunner(
        build_backbone(name).eval(), device, precision=precision, sparsity='never'
    )
    features, cells = torch.rand(9, 64, device=device), torch.arange(9, device=device)
    before = acted.allocated
    acted.reset()
    for _ in range(3):
        runner.from_checked(features, torch.stack([cells, cells], 1), SHAPE)
    computed = runner.needed_bytes(SHAPE)
    assert 0.75 * computed < acted.peak - before < 1.25 * computed
    runner.release()
    assert acted.allocated - before < 2**20


@pytest.mark.parametrize('name', list_backbones())
def test_every_backbone_takes_less_in_half_precision_and_more_on_a_larger_map(name):
    needs = BackboneMemory.from_backbone(build_backbone(name).eval())
    for device in (CPU, CUDA):
        full, half, large = (
            needs.bytes(shape, dtype, device, 'auto')
            for shape, dtype in (
                (SHAPE, torch.float32),
                (SHAPE, torch.bfloat16),
                ((400, 480), torch.float32),
            )
        )
        assert half < full < large


def test_a_map_for_which_there_is_no_memory_is_refused_before_it_is_tried(monkeypatch):
    runner = BackboneRunner(build_backbone('tiny').eval(), CPU, sparsity='never')
    needed = runner.needed_bytes((80, 90))
    monkeypatch.setattr(memory, 'free_bytes', lambda device: needed - 1)
    refused = r'map of 80 x 90 cells takes \d+ MiB; expected at most \d+'
    for use in (
        lambda: runner.warm_up((80, 90)),
        lambda: runner(torch.zeros(1, 64, 80, 90)),
        lambda: runner.from_pillars(
            torch.zeros(1, 64), torch.zeros(1, 2, dtype=torch.long), (80, 90)
        ),
    ):
        with pytest.raises(NotEnoughMemoryError, match=refused):
            use()
    monkeypatch.setattr(memory, 'free_bytes', lambda device: needed)
    runner.warm_up((80, 90))
    # Memory is checked once for a size.
    monkeypatch.setattr(memory, 'free_bytes', lambda device: 0)
    assert runner(torch.zeros(1, 64, 80, 90)).shape == (1, 128, 40, 45)


def test_nothing_of_a_large_map_is_computed_densely_at_the_warm_up(monkeypatch):
    monkeypatch.setattr(backbone_paths, '_MAX_DENSE_WARMUP_CELLS', 80 * 60 - 1)
    dense: list[Any] = []
    monkeypatch.setattr(
        'tiny_bev_ros.inference.dense_path.DensePath.from_pillars',
        lambda self, features, cells, shape: dense.append((1, features.shape[1], *shape)),
    )
    runner = BackboneRunner(build_backbone('tiny', in_channels=4, mid_channels=4).eval(), CPU)
    runner.warm_up((80, 60))
    assert dense == []
    runner.warm_up((79, 60))
    assert dense == [(1, 4, 79, 60)]


def test_a_pseudo_image_for_which_there_is_no_memory_is_refused_before_it_is_tried(monkeypatch):
    pillars = torch.zeros(1, 64), torch.zeros(1, 2, dtype=torch.long)
    monkeypatch.setattr(memory, 'free_bytes', lambda device: 10 * 2**20)
    small = pillar_runner.scatter_pillars(pillars, (200, 240))
    assert small.shape == (1, 64, 200, 240)
    monkeypatch.setattr(pillar_runner, '_LARGE', 2**20)
    wanted = 'pseudo-image of 200 x 240 cells takes 12 MiB; expected at most 10'
    with pytest.raises(NotEnoughMemoryError, match=wanted):
        pillar_runner.scatter_pillars(pillars, (200, 240))


def test_a_map_without_cells_or_of_too_many_is_refused():
    runner = BackboneRunner(build_backbone('tiny').eval(), CPU)
    for shape in ((0, 5), (-4, 4), (2**13, 2**12)):
        with pytest.raises(TinyBevError, match='shape of the map is'):
            runner.warm_up(shape)
