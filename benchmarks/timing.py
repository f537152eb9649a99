# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Time measurement of the benchmarks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

_SIDE = 2048
_TRIES = 5
_PAUSE_S = 0.05


def interleaved(work: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Times functions in turn, after one warm-up round.

    A pause follows each call: idle threads of a function spin on for a while, and would take a
    core from the next one.

    Args:
        work: functions by name.
        rounds: number of timed calls of each function.

    Returns:
        Milliseconds of each call, by name.
    """
    times: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, run in work.items():
            time.sleep(_PAUSE_S)
            begin = time.perf_counter()
            run()
            if number:
                times[name].append((time.perf_counter() - begin) * 1e3)
    return times


def median(values: list[float]) -> float:
    """Returns the median of times."""
    return statistics.median(values)


def fma_peak() -> float:
    """Measures the float32 multiply-adds per second of a large matrix product.

    Takes the best of a few products, with the present number of threads of PyTorch.
    """
    a, b = torch.rand(_SIDE, _SIDE), torch.rand(_SIDE, _SIDE)
    product = torch.empty(_SIDE, _SIDE)
    times = interleaved({'mm': lambda: torch.mm(a, b, out=product)}, _TRIES)
    return _SIDE**3 / (min(times['mm']) / 1e3)
