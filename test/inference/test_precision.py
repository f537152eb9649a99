# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import pytest
import torch

from tiny_bev_ros.inference import precision
from tiny_bev_ros.inference.precision import (
    dtype_for,
    median_seconds,
    product_seconds,
    reason_for_float32,
)

CPU = torch.device('cpu')


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_a_slower_precision_is_not_worth_it(dtype: torch.dtype):
    assert reason_for_float32(dtype, lambda _: [1.0, 2.0]) == ''
    name = str(dtype).removeprefix('torch.')
    assert reason_for_float32(dtype, lambda _: [5.0, 2.0]) == (
        f'matrix products in {name} take 2.5 times as long on this CPU'
    )


def test_float32_is_not_compared_with_itself():
    def fail(_):
        raise AssertionError

    assert reason_for_float32(torch.float32, fail) == ''


def test_products_are_measured():
    times = product_seconds([torch.bfloat16, torch.float32])
    assert len(times) == 2
    assert min(times) > 0


def test_functions_are_timed_in_turn_and_the_first_round_does_not_count(monkeypatch):
    now, order = [0.0], []
    monkeypatch.setattr(precision.time, 'perf_counter', lambda: now[0])

    def work(name: str, seconds: list[float]) -> None:
        order.append(name)
        now[0] += seconds.pop(0)

    a, b = [100.0, 1.0, 9.0, 2.0], [100.0, 5.0, 4.0, 6.0]
    found = median_seconds([lambda: work('a', a), lambda: work('b', b)])
    assert found == [2.0, 5.0]
    assert ''.join(order) == 'abababab'


@pytest.mark.parametrize(
    ('capability', 'wanted'),
    [
        ((6, 1), torch.float32),
        ((7, 0), torch.float16),
        ((7, 5), torch.float16),
        ((8, 0), torch.bfloat16),
        ((8, 6), torch.bfloat16),
        ((12, 0), torch.bfloat16),
    ],
)
def test_auto_goes_by_the_tensor_cores_of_a_gpu(monkeypatch, capability, wanted):
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda _: capability)
    assert dtype_for('auto', torch.device('cuda', 0)) == wanted
    assert dtype_for('float32', torch.device('cuda', 0)) == torch.float32


@pytest.mark.parametrize('amx', [True, False])
def test_auto_goes_by_amx_on_a_cpu_and_measures_nothing(monkeypatch, amx: bool):
    def fail(*_):
        raise AssertionError

    monkeypatch.setattr(precision, 'reason_for_float32', fail)
    monkeypatch.setattr(torch.cpu, '_is_amx_tile_supported', lambda: amx, raising=False)
    assert dtype_for('auto', CPU) == (torch.bfloat16 if amx else torch.float32)


@pytest.mark.parametrize(
    ('flags', 'wanted'),
    [('avx512f amx_bf16 amx_tile', torch.bfloat16), ('avx512f', torch.float32), ('', None)],
)
def test_an_old_pytorch_does_not_know_of_amx(monkeypatch, flags, wanted):
    monkeypatch.delattr(torch.cpu, '_is_amx_tile_supported', raising=False)
    monkeypatch.setattr(precision, 'cpu_flags', lambda: frozenset(flags.split()))
    assert dtype_for('auto', CPU) == (wanted or torch.float32)
