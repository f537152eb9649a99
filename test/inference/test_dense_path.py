# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Dense path, its buffers, and its recorded launches (recorded by a stand-in here)."""

from __future__ import annotations

import gc
import warnings
import weakref
from functools import partial

import pytest
import torch
from shaken_networks import Residual, shaken

from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.cuda_graph import Capture, cuda_graph
from tiny_bev_ros.inference.dense_path import DensePath
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer, as_chain, dense_work
from tiny_bev_ros.models import TinyBEVBackbone, build_backbone, seeded

CPU = torch.device('cpu')


class Recorder:
    """Records like a CUDA graph: repeats the work on the same input into the same result."""

    def __init__(self) -> None:
        self.recordings, self.repeats = 0, 0

    def __call__(self, work):
        self.recordings += 1
        with torch.inference_mode():
            result = work()

        def repeat() -> None:
            self.repeats += 1
            result.copy_(work())

        return repeat, result


def refuse(_):
    raise RuntimeError('operation not permitted when stream is capturing\nmore of it')


def network() -> torch.nn.Module:
    with seeded(0):
        return shaken(TinyBEVBackbone(6, 5, 7))


def path(dtype: torch.dtype = torch.float32, capture: Capture | None = None) -> DensePath:
    return DensePath(network(), as_chain(network()), CPU, dtype, capture)


def canvas(seed: int = 0, shape: tuple[int, ...] = (1, 6, 12, 15)) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def error(got: torch.Tensor, x: torch.Tensor) -> float:
    wanted = network()(x)
    assert got.is_contiguous(memory_format=torch.channels_last)
    return float((got - wanted).norm() / wanted.norm())


@pytest.mark.parametrize('recorded', [False, True])
@pytest.mark.parametrize(
    ('dtype', 'limit'), [(torch.float32, 1e-5), (torch.bfloat16, 0.01), (torch.float16, 0.01)]
)
def test_it_gives_what_the_network_gives(recorded: bool, dtype: torch.dtype, limit: float):
    run = path(dtype, Recorder() if recorded else None)
    for seed, shape in enumerate([(1, 6, 12, 15), (1, 6, 12, 15), (2, 6, 9, 8), (1, 6, 12, 15)]):
        x = canvas(seed, shape)
        kept = x.clone()
        got = run(x)
        assert got.dtype == dtype
        assert error(got, x) < limit
        assert torch.equal(x, kept)


@pytest.mark.parametrize('recorded', [False, True])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_a_result_outlives_the_next_call(recorded: bool, dtype: torch.dtype):
    run = path(dtype, Recorder() if recorded else None)
    first = run(canvas(0))
    kept = first.clone()
    second = run(canvas(1))
    assert torch.equal(first, kept)
    assert not torch.equal(second, kept)


def test_launches_are_recorded_once_for_a_shape():
    recorder = Recorder()
    run = path(capture=recorder)
    for _ in range(3):
        run(canvas())
    assert (recorder.recordings, recorder.repeats) == (1, 3)
    run(canvas(shape=(1, 6, 8, 8)))
    assert (recorder.recordings, recorder.repeats) == (2, 4)


def test_recorded_launches_use_the_same_two_results():
    run = path(capture=Recorder())
    places = [run(canvas(seed)).data_ptr() for seed in range(4)]
    assert places[:2] == places[2:]
    assert places[0] != places[1]


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_without_a_recording_it_runs_all_the_same_and_says_so_once(dtype: torch.dtype):
    run = path(dtype, refuse)
    assert run.no_graph_reason == ''
    with pytest.warns(UserWarning, match='no CUDA graph: operation not permitted'):
        got = run(canvas())
    assert error(got, canvas()) < 0.01
    assert run.no_graph_reason == 'operation not permitted when stream is capturing'
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for shape in ((1, 6, 12, 15), (1, 6, 9, 9)):
            assert error(run(canvas(1, shape)), canvas(1, shape)) < 0.01


@pytest.mark.parametrize('recorded', [False, True])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_what_is_no_chain_runs_as_it_is(recorded: bool, dtype: torch.dtype):
    residual = Residual().eval()
    run = DensePath(residual, (), CPU, dtype, Recorder() if recorded else None)
    for seed in range(2):
        x = canvas(seed, (1, 4, 8, 9))
        with torch.no_grad():
            wanted = residual(x)
        got = run(x)
        assert (got - wanted).norm() / wanted.norm() < (1e-6 if dtype == torch.float32 else 0.01)


def test_a_failed_call_leaves_no_trace(monkeypatch):
    run = path(torch.bfloat16)
    run(canvas())

    def fail(*_):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(ConvLayer, '__call__', fail)
        with pytest.raises(MemoryError):
            run(canvas(shape=(1, 6, 9, 9)))
    x = canvas(1, (1, 6, 9, 9))
    assert error(run(x), x) < 0.01


def test_work():
    assert dense_work(as_chain(build_backbone('tiny').eval()), (496, 432)) == 28_523_888_640


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_cuda_graph(dtype: torch.dtype):
    device = torch.device('cuda')
    run = DensePath(
        network().to(device), as_chain(network()), device, dtype, partial(cuda_graph, device)
    )
    for seed, shape in enumerate([(1, 6, 12, 15), (1, 6, 12, 15), (2, 6, 9, 8)]):
        x = canvas(seed, shape)
        assert error(run(x.to(device)).cpu(), x) < 0.01
    assert run.no_graph_reason == ''


def test_nothing_waits_for_the_garbage_collector():
    network = build_backbone('tiny', in_channels=4, mid_channels=4, out_channels=6).eval()
    runner = BackboneRunner(network, CPU)
    runner(torch.zeros(1, 4, 10, 12))
    kept = weakref.ref(network)
    gc.collect()
    gc.disable()
    try:
        del runner, network
        assert kept() is None
    finally:
        gc.enable()
