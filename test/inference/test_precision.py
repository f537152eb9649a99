# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from tiny_bev_ros.inference.precision import product_seconds, reason_for_float32


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_a_slower_precision_is_not_worth_it(dtype: torch.dtype):
    assert reason_for_float32(dtype, lambda _: [1.0, 2.0]) == ''
    name = str(dtype).removeprefix('torch.')
    assert reason_for_float32(dtype, lambda _: [5.0, 2.0]) == (
        f'products in {name} take 2.5 times as long on this CPU'
    )


def test_float32_is_not_compared_with_itself():
    def fail(_):
        raise AssertionError

    assert reason_for_float32(torch.float32, fail) == ''


def test_products_are_measured():
    times = product_seconds([torch.bfloat16, torch.float32])
    assert len(times) == 2
    assert min(times) > 0
