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
