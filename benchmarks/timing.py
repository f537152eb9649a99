# SPDX-License-Identifier: Apache-2.0
"""How the benchmark takes time."""

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
    """Milliseconds of each, taken in turn after one round that does not count.

    Between two of them is a pause: idle threads of the one before go on spinning for a while,
    and would take a core from the next.
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
    """Of milliseconds."""
    return statistics.median(values)


def fma_peak() -> float:
    """Multiplications with addition per second, float32, that a large matrix product reaches.

    With as many threads as PyTorch has now; the best of a few.
    """
    a, b = torch.rand(_SIDE, _SIDE), torch.rand(_SIDE, _SIDE)
    product = torch.empty(_SIDE, _SIDE)
    times = interleaved({'mm': lambda: torch.mm(a, b, out=product)}, _TRIES)
    return _SIDE**3 / (min(times['mm']) / 1e3)
