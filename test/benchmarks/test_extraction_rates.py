# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Rates of extraction: outputs that are new in each run, differences of times, the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.extraction import extraction_rates
from benchmarks.extraction.extraction_rates import BARE, ONE, TWO, extraction_table


def test_each_run_extracts_everything_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    commands: list[list[str]] = []
    monkeypatch.setattr(extraction_rates, '_run', commands.append)
    contenders, _ = extraction_rates._contenders(tmp_path)
    for _ in range(2):
        for name in (BARE, ONE, TWO):
            contenders[name]([Path('street_0')])
    outputs = [
        command[command.index('--output') + 1] for command in commands if '--output' in command
    ]
    assert len(set(outputs)) == len(outputs) == 4
    assert not any(tmp_path.iterdir())
    workers = [command[command.index('--workers') + 1] for command in commands if len(command) > 4]
    assert workers == ['1', '2', '1', '2']


def test_a_start_does_not_count(monkeypatch: pytest.MonkeyPatch):
    """A contender that needs 5 s to start and 0.5 s for a bag."""
    now = 0.0

    def work(bags: list[Path]) -> None:
        nonlocal now
        now += 5 + 0.5 * len(bags)

    monkeypatch.setattr(extraction_rates.time, 'perf_counter', lambda: now)
    bags = [Path(f'street_{number}') for number in range(6)]
    seconds = extraction_rates._seconds(work, bags) - extraction_rates._seconds(work, bags[:2])
    assert seconds == pytest.approx(2)


def test_the_table_compares_with_the_bare_detector():
    result = {
        'clouds': 120,
        'rates': {BARE: [8.0, 10.0, 9.0], TWO: [18.0, 17.0, 18.5]},
        'left_out': ['Ray is left out: ray is not installed'],
    }
    text = extraction_table(result)
    assert f'| {TWO} | 18.00 | 17.00..18.50 | 2.00 |' in text
    assert text.endswith('- Ray is left out: ray is not installed')
