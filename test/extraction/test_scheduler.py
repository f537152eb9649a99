# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Order of surveys and runs, on a pool without processes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fake_extraction import RecordedProgress

from tiny_bev_ros.extraction.output_folder import OutputFolder
from tiny_bev_ros.extraction.pool_events import Finished, PoolEvent
from tiny_bev_ros.extraction.scheduler import Scheduler
from tiny_bev_ros.extraction.work_units import Run, Shard, Survey, Unit, plan_surveys

BAGS = [f'/bags/{number:02d}' for number in range(10)]
RUNS = 3


class InlinePool:
    """Computes the oldest unit in `wait`; each bag has three runs."""

    def __init__(self, folder: OutputFolder, size: int) -> None:
        self.size = size
        self.started: list[Unit] = []
        self._folder = folder
        self._units: dict[int, Unit] = {}

    def idle(self, wanted: int) -> list[int]:
        return [worker for worker in range(self.size) if worker not in self._units]

    def start(self, worker: int, unit: Unit) -> None:
        self.started.append(unit)
        self._units[worker] = unit

    def wait(self, timeout_s: float) -> list[PoolEvent]:
        worker = next(iter(self._units))
        unit = self._units.pop(worker)
        result: dict[str, Any] = {}
        if isinstance(unit, Survey):
            states = [{'state': f'{unit.name} {number}'} for number in range(RUNS)]
            result = {'count': 256 * RUNS, 'mounting': states}
        marker = self._folder.commit(unit, self._folder.partial_folder(unit), result)
        return [Finished(unit, marker)]

    def close(self) -> None: ...


def schedule(path: Path, size: int, shard: Shard = Shard()) -> tuple[list[Unit], RecordedProgress]:  # noqa: B008
    """Extracts all bags; returns the units in the order of their starts, and the display."""
    folder, progress = OutputFolder(path, shard), RecordedProgress()
    pool = InlinePool(folder, size)
    outcomes = list(Scheduler(pool, folder, progress).outcomes(plan_surveys(BAGS)))
    assert all(outcome.result is not None for outcome in outcomes)
    assert progress.frames == progress.planned
    return pool.started, progress


@pytest.mark.parametrize('size', [1, 2, 4])
def test_bags_are_surveyed_only_where_runs_are_few(size: int, tmp_path: Path):
    started, progress = schedule(tmp_path, size)
    assert len(started) == len({unit.key for unit in started}) == len(BAGS) * (1 + RUNS)
    for index, unit in enumerate(started):
        if isinstance(unit, Survey):
            # Surveys that still compute when another one starts bring the only other runs.
            surveyed = sum(isinstance(each, Survey) for each in started[:index])
            runs = index - surveyed
            assert surveyed * RUNS - runs < 2 * size + size * RUNS
    assert progress.uncounted[0] == len(BAGS)
    assert progress.uncounted[-1] == 0
    assert sorted(progress.uncounted, reverse=True) == progress.uncounted


def test_a_run_gets_its_mounting_when_it_starts(tmp_path: Path):
    started, _ = schedule(tmp_path, 2)
    runs = [unit for unit in started if isinstance(unit, Run)]
    assert all(run.mounting == {'state': f'{run.name} {run.number}'} for run in runs)


def test_each_machine_surveys_its_own_bags(tmp_path: Path):
    started = [unit for index in (1, 2, 3) for unit in schedule(tmp_path, 2, Shard(index, 3))[0]]
    assert max(Counter(unit.key for unit in started).values()) == 1
    assert len(started) == len(BAGS) * (1 + RUNS)
