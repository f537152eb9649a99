# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

from optional_packages import require_packages

require_packages('numba')

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tiny_bev_ros.inference.kernels.simd import as_numpy, jit, load, maximum, splat, store
from tiny_bev_ros.inference.sparse.row_padding import WIDTH


@jit
def _add(a: Any, b: Any, out: Any) -> None:
    for i in range(0, a.shape[0], WIDTH):
        store(out, i, load(a, i) + load(b, i))


@jit
def _subtract(a: Any, b: Any, out: Any) -> None:
    for i in range(0, a.shape[0], WIDTH):
        store(out, i, load(a, i) - load(b, i))


@jit
def _multiply(a: Any, b: Any, out: Any) -> None:
    for i in range(0, a.shape[0], WIDTH):
        store(out, i, load(a, i) * load(b, i))


@jit
def _maximum(a: Any, b: Any, out: Any) -> None:
    for i in range(0, a.shape[0], WIDTH):
        store(out, i, maximum(load(a, i), load(b, i)))


@jit
def _fill(out: Any, number: float) -> None:
    store(out, 0, splat(number))


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ('kernel', 'function'),
    [
        (_add, operator.add),
        (_subtract, operator.sub),
        (_multiply, operator.mul),
        (_maximum, torch.maximum),
    ],
)
def test_operations_round_as_pytorch_does(
    kernel: Any, function: Callable[..., torch.Tensor], dtype: torch.dtype
):
    a, b = torch.randn(2, 64 * WIDTH, generator=torch.Generator().manual_seed(0)).to(dtype)
    out = torch.empty_like(a)
    kernel(as_numpy(a), as_numpy(b), as_numpy(out))
    assert torch.equal(out, function(a, b))


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_splat_and_rounding_to_even(dtype: torch.dtype):
    out = torch.empty(WIDTH, dtype=dtype)
    # 1 + 1/256 is halfway between two bfloat16 values; the even one is 1.
    for number in (0.0, -0.0, 1 + 1 / 256, 1 + 3 / 256, -1e-3, 65504.0):
        _fill(as_numpy(out), np.float32(number))
        assert torch.equal(out, torch.full((WIDTH,), number).to(dtype)), number


def test_nothing_beyond_the_vector_is_written():
    out = torch.zeros(2 * WIDTH)
    _fill(as_numpy(out), np.float32(1))
    assert out[:WIDTH].sum() == WIDTH and out[WIDTH:].abs().sum() == 0
