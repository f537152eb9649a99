# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""The choice between Triton's kernels and PyTorch on CUDA."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from acted_machine import Machine

from tiny_bev_ros.inference.sparse.sparse_path import make_chain
from tiny_bev_ros.inference.triton_support import triton_unavailable_reason
from tiny_bev_ros.optional_imports import import_optional, take_notes

DEVICE = torch.device('cuda', 0)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    triton_unavailable_reason.cache_clear()
    yield
    triton_unavailable_reason.cache_clear()


def check(reason: str) -> None:
    """Checks that the reason is given, and noted once."""
    for _ in range(2):
        assert triton_unavailable_reason(DEVICE) == reason
    assert take_notes() == [f"{reason}: PyTorch replaces Triton's kernels on CUDA, and is slower"]


def test_a_cpu_is_no_fault():
    reason = triton_unavailable_reason(torch.device('cpu'))
    assert reason == 'the device is cpu; expected cuda'
    assert take_notes() == []


def test_turing(acted: Machine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: (7, 5))
    check('compute capability is 7.5; expected at least 8.0')


@pytest.mark.parametrize(
    ('version', 'words'), [('2.3.1', 'triton is 2.3.1; expected at least 3.0')]
)
def test_an_old_triton(acted: Machine, monkeypatch: pytest.MonkeyPatch, version: str, words: str):
    import_optional.cache_clear()
    monkeypatch.setitem(sys.modules, 'triton', SimpleNamespace(__version__=version))
    check(words)


def test_no_triton(acted: Machine, monkeypatch: pytest.MonkeyPatch):
    import_optional.cache_clear()
    monkeypatch.setitem(sys.modules, 'triton', None)
    reason = import_optional('triton').reason
    assert 'triton' in reason
    check(reason)


@pytest.fixture
def launches(acted: Machine) -> Any:
    """Module whose function launches kernels."""
    pytest.importorskip('triton')
    return importlib.import_module('tiny_bev_ros.inference.kernels.triton_launch')


def test_triton_that_works(launches: Any):
    assert triton_unavailable_reason(DEVICE) == ''
    assert take_notes() == []


def test_no_compiler(launches: Any, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError('Failed to find C compiler.\nPlease specify one')

    monkeypatch.setattr(launches, 'launch', fail)
    check('triton cannot be used (RuntimeError: Failed to find C compiler.)')


def test_wrong_values(launches: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(launches, 'launch', lambda *_, **__: None)
    check('triton cannot be used (it computes wrongly)')


def test_a_shortage_is_no_fault_of_triton(launches: Any, acted: Machine):
    acted.memory = 16
    with pytest.raises(torch.cuda.OutOfMemoryError):
        triton_unavailable_reason(DEVICE)
    acted.memory = 2**20
    assert triton_unavailable_reason(DEVICE) == ''


def test_pytorch_takes_over(acted: Machine, monkeypatch: pytest.MonkeyPatch):
    from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer

    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: (7, 5))
    layer = ConvLayer(torch.ones(4, 4, 1, 1), torch.zeros(4), 1, relu=False)
    chain = make_chain((layer,), (8, 8), torch.float32, DEVICE, threads=1)
    assert type(chain).__name__ == 'TorchChain'
