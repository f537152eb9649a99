# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Memory: errors of shortage, free bytes, and the limit of what is taken."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference import memory
from tiny_bev_ros.inference.dense_path import DensePath
from tiny_bev_ros.inference.memory import (
    NotEnoughMemoryError,
    device_memory_mb,
    free_bytes,
    free_caches,
    limit_device_memory,
    shortage,
    translate_oom,
)
from tiny_bev_ros.models import build_backbone, resolve_device

CPU = torch.device('cpu')
CUDA = torch.device('cuda', 0)  # named only, not used, except where it is acted


def test_a_lack_of_memory_is_one_line():
    for lack in (lambda: torch.empty(2**60), lambda: np.empty(2**60, np.uint8)):
        with (
            pytest.raises(NotEnoughMemoryError, match='not enough memory for a giant'),
            translate_oom('a giant'),
        ):
            lack()


@pytest.mark.parametrize(
    'text',
    [
        'CUDA out of memory. Tried to allocate 2.00 MiB',
        'CUDA error: out of memory',
        'GET was unable to find an engine to execute this computation',
        'cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED',
        'cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED',
        'cuDNN error: CUDNN_STATUS_ALLOC_FAILED',
        'cuDNN error: CUDNN_STATUS_NOT_INITIALIZED',
        'CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`',
        'CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`',
        'cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `create(handle)`',
        'CUDA error: CUSPARSE_STATUS_INSUFFICIENT_RESOURCES when calling',
        'cuFFT error: CUFFT_ALLOC_FAILED',
        'nvrtc: error: NVRTC_ERROR_OUT_OF_MEMORY',
        'CUDA driver error: CUDA_ERROR_OUT_OF_MEMORY',
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes",
        'DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes',
        'unable to mmap 8 bytes from file <x>: Cannot allocate memory (12)',
        'could not create a memory object',
        'std::bad_alloc',
    ],
)
def test_what_libraries_say_of_a_shortage(text):
    with (
        pytest.raises(NotEnoughMemoryError, match='not enough memory for a map: '),
        translate_oom('a map'),
    ):
        raise RuntimeError(f'{text}\nException raised from somewhere')


class CodedError(RuntimeError):
    """Error like torch.AcceleratorError, whose text may be worded otherwise."""

    def __init__(self, code: int) -> None:
        super().__init__('CUDA error: some words')
        self.error_code = code


def test_kinds_of_errors_that_say_it_without_words():
    assert shortage(MemoryError()) == 'MemoryError'
    assert shortage(torch.cuda.OutOfMemoryError('some words')) == 'some words'
    assert shortage(CodedError(2)) == 'CUDA error: some words'
    assert shortage(OSError(errno.ENOMEM, 'no room')).endswith('no room')
    assert not shortage(CodedError(700))
    assert not shortage(OSError(errno.ENOENT, 'out of memory.txt'))


def test_a_shortage_behind_another_error_is_one():
    """A CUDA graph for which memory is short raises another error."""
    try:
        try:
            raise torch.cuda.OutOfMemoryError('CUDA out of memory')
        finally:
            raise RuntimeError('CUDA error: operation failed due to a previous error')
    except RuntimeError as error:
        assert shortage(error) == 'CUDA out of memory'


@pytest.mark.parametrize(
    'text', ['CUDA out of memory', 'CUDA error: an illegal memory access was encountered']
)
def test_neither_a_shortage_nor_a_lost_device_means_that_there_is_no_graph(text):
    fail = True

    def capture(work):
        if fail:
            raise RuntimeError(text)
        return lambda: None, work()

    dense = DensePath(build_backbone('tiny').eval(), (), CPU, torch.float32, capture)
    image = torch.zeros(1, 64, 8, 8)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=text):
            dense(image)
    assert dense.no_graph_reason == ''
    fail = False
    assert dense(image).shape == (1, 128, 4, 4)


@pytest.mark.parametrize('text', ['mat1 and mat2', 'an illegal memory access was encountered'])
def test_another_error_of_pytorch_stays_what_it_is(text):
    with pytest.raises(RuntimeError, match=text), translate_oom('nothing'):
        raise RuntimeError(text)


def test_a_budget_means_nothing_on_the_cpu():
    limit_device_memory(CPU, 1)
    assert device_memory_mb(CPU) == 0


@pytest.mark.parametrize('name', ['auto', 'cuda', 'cuda:0'])
def test_a_budget_becomes_a_share_of_the_device(acted, name, monkeypatch):
    monkeypatch.setattr(memory, '_limits', {})
    device = resolve_device(name)
    limit_device_memory(device, 1024)
    assert acted.memory_fraction[0] == 0.25
    assert memory._limits == {device: 1024 * 2**20}
    with pytest.raises(NotEnoughMemoryError), translate_oom('two gigabytes'):
        torch.empty(2**31, dtype=torch.uint8, device=device)
    kept = torch.empty(2**20, dtype=torch.uint8, device=device)
    assert device_memory_mb(device) == kept.numel() / 2**20
    limit_device_memory(device, 0)
    assert acted.memory_fraction[0] == 1.0
    with pytest.raises(TinyBevError, match='memory_budget_mb is 5000; expected at most 4096'):
        limit_device_memory(device, 5000)


def test_what_is_free_of_a_device_is_within_the_budget(monkeypatch):
    numbers = {'memory_allocated': 300, 'memory_reserved': 400}
    for name, value in numbers.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda device: (1000, 4000))
    monkeypatch.setattr(torch.cuda, 'memory_snapshot', list)
    assert free_bytes(CUDA) == 1100
    monkeypatch.setitem(memory._limits, CUDA, 800)
    assert free_bytes(CUDA) == 500


def test_what_graphs_hold_of_a_device_is_not_free(monkeypatch):
    numbers = {'memory_allocated': 300, 'memory_reserved': 400}
    for name, value in numbers.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda device: (1000, 4000))
    sizes = {'total_size': 90, 'allocated_size': 30}
    segments = [
        {**sizes, 'device': CUDA.index, 'segment_pool_id': (0, 1)},
        {**sizes, 'device': CUDA.index, 'segment_pool_id': (0, 0)},  # PyTorch's common pool
        {**sizes, 'device': CUDA.index},  # of a PyTorch that does not name pools
        {**sizes, 'device': CUDA.index + 1, 'segment_pool_id': (0, 1)},
    ]
    monkeypatch.setattr(torch.cuda, 'memory_snapshot', lambda: segments)
    assert free_bytes(CUDA) == 1040
    monkeypatch.setitem(memory._limits, CUDA, 800)
    assert free_bytes(CUDA) == 440


def test_what_is_free_of_a_cpu_is_within_the_container(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(memory, '_CGROUP', tmp_path)
    whole = free_bytes(CPU)
    (tmp_path / 'memory.max').write_text('1000\n')
    (tmp_path / 'memory.current').write_text('700\n')
    (tmp_path / 'memory.stat').write_text('anon 500\ninactive_file 100\n')
    assert free_bytes(CPU) == 400
    (tmp_path / 'memory.max').write_text('max\n')
    assert free_bytes(CPU) > whole / 2


def test_a_system_that_does_not_tell_what_is_free_sets_no_bound(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(memory, '_CGROUP', tmp_path)
    monkeypatch.setattr(memory, '_MEMINFO', tmp_path / 'meminfo')
    assert free_bytes(CPU) > 2**60
    (tmp_path / 'meminfo').write_text('MemTotal: 9 kB\nMemAvailable:  7 kB\n')
    assert free_bytes(CPU) == 7 * 1024


@pytest.mark.gpu
def test_a_budget_is_kept():
    free_caches(CUDA)  # other tests may have left more than the limit
    limit_device_memory(CUDA, 256)
    try:
        with pytest.raises(NotEnoughMemoryError), translate_oom('a gigabyte'):
            torch.empty(2**30, dtype=torch.uint8, device=CUDA)
        assert device_memory_mb(CUDA) <= 256
    finally:
        limit_device_memory(CUDA, 0)
