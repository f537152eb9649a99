# SPDX-License-Identifier: Apache-2.0
"""Whether products of lower precision are worth it on this CPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

_ROUNDS = 3


def dtype_for(precision: str, device: torch.device) -> torch.dtype:
    """Of products: the precision asked for; on a CPU that is slower with it, float32."""
    dtype: torch.dtype = getattr(torch, precision)
    return torch.float32 if device.type == 'cpu' and reason_for_float32(dtype) else dtype


def product_seconds(dtypes: list[torch.dtype]) -> list[float]:
    """Time of a product such as a 3x3 convolution of 64 channels makes, in each dtype."""
    pairs = [
        (torch.ones(1024, 576, dtype=dtype), torch.ones(576, 64, dtype=dtype)) for dtype in dtypes
    ]
    works = [partial(torch.mm, *pair) for pair in pairs]
    # The best of some tries: what else the machine does must not decide.
    tries = [median_seconds(works) for _ in range(3)]
    return [min(times) for times in zip(*tries, strict=True)]


def reason_for_float32(
    dtype: torch.dtype, seconds: Callable[[list[torch.dtype]], list[float]] = product_seconds
) -> str:
    """Why float32 should be taken instead of a dtype on the CPU; '' if it should not.

    Args:
        dtype: float32, bfloat16 or float16.
        seconds: what measures.
    """
    if dtype == torch.float32:
        return ''
    lower, full = seconds([dtype, torch.float32])
    if lower <= full:
        return ''
    name = str(dtype).removeprefix('torch.')
    return f'products in {name} take {lower / full:.1f} times as long on this CPU'


def median_seconds(works: Sequence[Callable[[], Any]]) -> list[float]:
    """Measures the median time of each function, called in turn; first calls do not count."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(_ROUNDS + 1):
        for work, seconds in zip(works, times, strict=True):
            begin = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - begin)
    return [sorted(seconds[1:])[_ROUNDS // 2] for seconds in times]
