# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from benchmarks import timing


def test_contenders_take_turns_and_the_first_round_does_not_count():
    order: list[str] = []
    work = {name: lambda name=name: order.append(name) for name in 'abc'}
    times = timing.interleaved(work, 2)
    assert order == list('abc' * 3)
    assert {name: len(values) for name, values in times.items()} == dict.fromkeys('abc', 2)


def test_median():
    assert timing.median([3.0, 1.0, 2.0]) == 2.0


def test_the_peak_is_that_of_the_best_product(monkeypatch):
    monkeypatch.setattr(timing, '_SIDE', 100)
    monkeypatch.setattr(timing, 'interleaved', lambda *_: {'mm': [4.0, 2.0, 8.0]})
    assert timing.fma_peak() == pytest.approx(100**3 / 2e-3)
