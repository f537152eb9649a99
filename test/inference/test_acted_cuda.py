# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""The acted CUDA device behaves as a real one in everything that the package uses."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from acted_cuda import acted_cuda
from acted_machine import Machine

CUDA = torch.device('cuda', 0)


def test_values_are_those_of_the_cpu(acted: Machine):
    network = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3)).eval()
    x = torch.rand(1, 2, 6, 7)
    with torch.inference_mode():
        wanted = network(x)
        for module in (network.to('cuda'), copy.deepcopy(network)):
            found = module(x.to('cuda:0'))
            assert found.device == CUDA and found.is_cuda
            torch.testing.assert_close(found.cpu(), wanted)


@pytest.mark.parametrize(
    'mix',
    [
        lambda here, there: here + there,
        lambda here, there: there.add_(here),
        lambda here, there: torch.cat([here, there]),
        torch.mm,
        lambda here, there: here[there.long()],
        lambda here, there: torch.index_select(there, 0, torch.arange(2)),
    ],
)
def test_tensors_of_two_devices_are_refused(acted: Machine, mix):
    with pytest.raises(RuntimeError, match='same device'):
        mix(torch.ones(2, 2), torch.ones(2, 2, device='cuda'))


def test_numpy_is_refused(acted: Machine):
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        torch.ones(2, device='cuda').numpy()


def test_indexing_reads_and_writes_views(acted: Machine):
    x = torch.arange(12, device='cuda').view(3, 4)
    x[1, 2:] = 0
    x[0] = torch.tensor([5, 5, 5, 5], device='cuda')
    x[:, 0][x[:, 0] > 4] = -1
    assert x.tolist() == [[-1, 5, 5, 5], [4, 5, 0, 0], [-1, 9, 10, 11]]
    assert x[torch.tensor([2]), 1].item() == 9


def test_launches_waits_and_copies_are_counted(acted: Machine):
    x = torch.ones(4, 4).to('cuda')
    y = (x @ x).relu_().t()[0]
    assert acted.launches == {'copy_': 1, 'mm': 1, 'relu_': 1}
    assert acted.waits == {'to device': 1}
    assert y.nonzero().shape == (4, 1)
    assert y.sum().item() == 16
    y.cpu()
    assert acted.waits == {'to device': 1, 'nonzero': 1, '_local_scalar_dense': 1, 'to host': 1}
    assert acted.copied == {'to device': 64, 'to host': 16}
    acted.reset()
    assert not acted.launches and not acted.waits and not acted.copied


def test_waits_warn_or_raise_in_the_sync_debug_mode(acted: Machine):
    x = torch.ones(2, device='cuda')
    torch.cuda.set_sync_debug_mode('error')
    (x + 1).to('cpu', non_blocking=True)
    torch.cuda.synchronize()
    stream = torch.cuda.current_stream()
    upload = partial(torch.ones(2).to, 'cuda')
    for wait in (x.cpu, x.nonzero, x.sum().item, stream.synchronize, upload):
        with pytest.raises(RuntimeError, match='called a synchronizing CUDA operation'):
            wait()
    torch.cuda.set_sync_debug_mode('warn')
    with pytest.warns(UserWarning, match='called a synchronizing CUDA operation'):
        x.cpu()
    torch.cuda.set_sync_debug_mode('default')
    x.cpu()
    assert acted.waits == {'synchronize': 1, 'to host': 2}


def test_a_copy_to_the_host_arrives_with_the_next_wait(acted: Machine):
    x = torch.ones(3, device='cuda')
    copied = x.to('cpu', non_blocking=True)
    x.add_(1)
    assert not acted.waits
    assert copied.isnan().all()
    event = torch.cuda.Event()
    event.record()
    event.synchronize()
    assert copied.tolist() == [1, 1, 1]
    assert acted.waits == {'event': 1}


def test_a_copy_into_pageable_memory_is_waited_for(acted: Machine):
    x, pageable = torch.ones(3, device='cuda'), torch.zeros(3)
    pageable.copy_(x, non_blocking=True)
    assert pageable.tolist() == [1, 1, 1]
    assert acted.waits == {'to host': 1}
    pinned = torch.zeros(3).pin_memory()
    assert pinned.is_pinned() and not pageable.is_pinned()
    pinned.copy_(x, non_blocking=True)
    assert acted.waits == {'to host': 1}
    torch.cuda.synchronize()
    assert pinned.tolist() == [1, 1, 1]


def test_memory_is_counted_and_has_an_end(acted: Machine):
    x = torch.empty(2**20, device='cuda')
    view = x[:4]
    assert torch.cuda.memory_allocated('cuda') == 2**22
    del x
    assert acted.allocated == 2**22
    del view
    assert acted.allocated == 0
    with pytest.raises(torch.cuda.OutOfMemoryError, match='CUDA out of memory'):
        torch.empty(2**33, dtype=torch.uint8, device='cuda')


def test_a_share_of_memory_needs_an_index(acted: Machine):
    with pytest.raises(ValueError, match='specified index'):
        torch.cuda.set_per_process_memory_fraction(0.5, torch.device('cuda'))
    torch.cuda.set_per_process_memory_fraction(0.25, CUDA)
    assert acted.memory_fraction[0] == 0.25
    with pytest.raises(torch.cuda.OutOfMemoryError):
        torch.empty(2**31, dtype=torch.uint8, device='cuda')


def test_a_graph_computes_only_when_it_is_replayed(acted: Machine):
    source = torch.ones(3, device='cuda')
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = (source * 2).add_(1)
        source.add_(10)
    assert result.isnan().all()
    graph.replay()
    assert result.tolist() == [3, 3, 3]
    graph.replay()
    assert result.tolist() == [23, 23, 23]
    with (
        pytest.raises(RuntimeError, match='not permitted when stream is capturing'),
        torch.cuda.graph(graph),
    ):
        result.sum().item()


def test_a_graph_holds_the_memory_of_its_work(acted: Machine):
    source = torch.ones(2**18, device='cuda')
    before = acted.allocated
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = ((source + 1) * 2) + 3
    assert acted.allocated - before == 2 * 2**20
    del result
    assert acted.allocated - before == 2**20
    del graph
    assert acted.allocated == before


def test_an_event_must_have_come_before_it_is_read(acted: Machine):
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    x = torch.zeros(3, device='cuda') + 1
    end.record()
    with pytest.raises(RuntimeError, match='not ready'):
        begin.elapsed_time(end)
    x.cpu()
    assert begin.elapsed_time(end) == pytest.approx(2e-3)


def test_autocast_is_that_of_cuda(acted: Machine):
    x = torch.ones(2, 2, device='cuda')
    with torch.autocast('cuda', torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16


def test_a_broken_device_fails_all_that_is_done(acted: Machine):
    x = torch.ones(2, device='cuda')
    acted.broken = RuntimeError('CUDA error: device-side assert triggered')
    for work in (lambda: x + 1, x.cpu, torch.cuda.synchronize, lambda: torch.ones(1, device=CUDA)):
        with pytest.raises(RuntimeError, match='device-side assert'):
            work()


def test_all_is_as_before_afterwards():
    before = torch.Tensor.to, torch.cuda.Event, torch.tensor
    with acted_cuda(2):
        assert torch.cuda.device_count() == 2
        assert torch.ones(1, device='cuda:1').device.index == 1
    assert before == (torch.Tensor.to, torch.cuda.Event, torch.tensor)
    assert not torch.cuda.is_available()
    with pytest.raises((AssertionError, RuntimeError)):
        torch.ones(1, device='cuda')
