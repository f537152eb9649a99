# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Order of the units of an extraction, their retries, and their outcomes."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.extraction.output_folder import OutputFolder
from tiny_bev_ros.extraction.pool_events import (
    Failed,
    Finished,
    PoolEvent,
    Progress,
    WorkerPool,
)
from tiny_bev_ros.extraction.work_units import Run, Survey, Unit, plan_runs, with_mounting

# Longest wait for an event, so that Ctrl-C and plain lines of progress come in time.
_WAIT_S = 1.0
# Number of waiting runs for each worker, below which another bag is surveyed.
_RUNS_AHEAD = 2


class Outcome(NamedTuple):
    """End of a unit.

    Attributes:
        unit: unit.
        result: marker of the unit; None if it was put aside.
        reason: cause in one line if it was put aside; '' if it is finished.
        attempts: number of times that it was started; 0 if it was finished before.
    """

    unit: Unit
    result: dict[str, Any] | None
    reason: str
    attempts: int


class ProgressListener(Protocol):
    """Display of the progress."""

    def plan(self, frames: int, finished: int = 0) -> None:
        """Notes frames that are to be computed, and frames that were finished before."""
        ...

    def advance(self, frames: int) -> None:
        """Notes computed frames; less than 0 for those of an attempt that failed."""
        ...

    def warn(self, line: str, failed: bool = False) -> None:
        """Shows a line; `failed` if a unit was put aside."""
        ...

    def refresh(self, uncounted: int, units: Collection[str]) -> None:
        """Notes the state, at least once a second.

        Args:
            uncounted: number of bags whose frames are not planned yet.
            units: keys of the units that are being computed.
        """
        ...


class Scheduler:
    """Drives a pool: each worker computes runs of the bag that it has open.

    Another bag is surveyed where few runs wait: surveys of all bags before any run take hours.
    A unit that fails, or whose worker dies, is tried again as often as the retries allow, then put
    aside. Other units are not affected.

    Args:
        pool: workers; not closed here, and not started if all units are finished.
        folder: output folder, in which workers commit finished units.
        listener: display of the progress.
        retries: number of further attempts after the first.
    """

    def __init__(
        self, pool: WorkerPool, folder: OutputFolder, listener: ProgressListener, retries: int = 1
    ) -> None:
        self._pool = pool
        self._folder = folder
        self._listener = listener
        self._retries = retries
        self._surveys: deque[Survey] = deque()
        self._runs: dict[str, deque[Run]] = {}  # by bag; never empty
        self._attempts: Counter[str] = Counter()
        self._frames: Counter[str] = Counter()  # computed so far, by the key of a unit in flight
        self._workers: dict[str, int] = {}  # by the key of a unit in flight
        self._bags: dict[int, str] = {}  # name of the open bag, by worker

    def outcomes(self, surveys: Iterable[Survey]) -> Iterator[Outcome]:
        """Runs all units of this machine that are not finished; yields the outcome of each unit.

        Args:
            surveys: surveys of all bags.

        Raises:
            TinyBevError: the workers cannot start, or nothing can be written.
        """
        for survey in self._folder.shard.select(surveys):
            if self._folder.is_done(survey):
                yield from self._finish(survey, self._folder.result(survey))
            else:
                self._surveys.append(survey)
        while self._surveys or self._runs or self._workers:
            self._assign()
            self._listener.refresh(self._uncounted(), list(self._workers))
            for event in self._pool.wait(_WAIT_S):
                yield from self._handle(event)

    def _uncounted(self) -> int:
        """Returns the number of bags that are not surveyed yet."""
        return len(self._surveys) + sum(key.endswith('/survey') for key in self._workers)

    def _waiting_runs(self) -> int:
        return sum(map(len, self._runs.values()))

    def _assign(self) -> None:
        waiting = len(self._surveys) + self._waiting_runs()
        if not waiting:
            return
        for worker in self._pool.idle(waiting):
            unit = self._next_unit(worker)
            if unit is None:
                return
            self._attempts[unit.key] += 1
            self._workers[unit.key] = worker
            self._bags[worker] = unit.name
            self._pool.start(worker, unit)

    def _next_unit(self, worker: int) -> Unit | None:
        if self._surveys and self._waiting_runs() < _RUNS_AHEAD * self._pool.size:
            return self._surveys.popleft()
        if not self._runs:
            return None
        name = self._bags.get(worker, '')
        if name not in self._runs:
            name = self._next_bag()
        run = self._runs[name].popleft()
        if not self._runs[name]:
            del self._runs[name]
        return with_mounting(run, self._folder.result(Survey(run.path, run.name)))

    def _next_bag(self) -> str:
        """Returns the first bag that no worker has open, else the one with most runs left."""
        used = set(self._bags.values())
        free = next((name for name in self._runs if name not in used), '')
        return free or max(self._runs, key=lambda name: len(self._runs[name]))

    def _handle(self, event: PoolEvent) -> Iterator[Outcome]:
        if isinstance(event, Progress):
            self._frames[event.unit.key] += event.frames
            self._listener.advance(event.frames)
        elif isinstance(event, Finished):
            yield from self._complete(event.unit, event.result)
        elif isinstance(event, Failed):
            self._refuse_unwritable(event)
            self._release(event.unit)
            yield from self._retry(event.unit, event.reason, event.retry)
        elif event.unit is None:
            self._listener.warn(f'{event.reason}, without a unit')
        elif self._folder.is_done(event.unit):  # Its worker died after the commit.
            del self._bags[self._workers[event.unit.key]]
            yield from self._complete(event.unit, self._folder.result(event.unit))
        else:
            del self._bags[self._workers[event.unit.key]]
            self._release(event.unit)
            yield from self._retry(event.unit, event.reason, True)

    def _refuse_unwritable(self, event: Failed) -> None:
        if event.fatal:
            raise TinyBevError(
                f'{self._folder.path} cannot be written ({event.reason}); expected room on the '
                'disk: the next call goes on from here'
            )

    def _release(self, unit: Unit) -> None:
        """Takes back a failed attempt."""
        del self._workers[unit.key]
        self._listener.advance(-self._frames.pop(unit.key, 0))
        self._folder.discard(unit)

    def _retry(self, unit: Unit, reason: str, retry: bool) -> Iterator[Outcome]:
        attempts = self._attempts[unit.key]
        if retry and attempts <= self._retries:
            self._listener.warn(f'{unit.key}: {reason}; it is tried again')
            self._put_back(unit)
            return
        self._folder.put_aside(_failure(unit, reason, attempts))
        self._listener.plan(-unit.size)
        self._listener.warn(f'{unit.key}: {reason}; it is put aside', failed=True)
        yield Outcome(unit, None, reason, attempts)

    def _put_back(self, unit: Unit) -> None:
        if isinstance(unit, Survey):
            self._surveys.append(unit)
        else:
            self._runs.setdefault(unit.name, deque()).appendleft(unit)

    def _complete(self, unit: Unit, result: dict[str, Any]) -> Iterator[Outcome]:
        del self._workers[unit.key]
        self._listener.advance(unit.size - self._frames.pop(unit.key, 0))
        yield from self._finish(unit, result)

    def _finish(self, unit: Unit, result: dict[str, Any]) -> Iterator[Outcome]:
        yield Outcome(unit, result, '', self._attempts[unit.key])
        if isinstance(unit, Survey):
            for run in plan_runs(unit, result):
                yield from self._plan(run)

    def _plan(self, run: Run) -> Iterator[Outcome]:
        if self._folder.is_done(run):
            self._listener.plan(0, finished=run.size)
            yield from self._finish(run, self._folder.result(run))
        else:
            self._listener.plan(run.size)
            self._runs.setdefault(run.name, deque()).append(run)


def _failure(unit: Unit, reason: str, attempts: int) -> dict[str, Any]:
    """Returns the entry of a unit in the list of failed units."""
    entry = {'unit': unit.key, 'bag': unit.path, 'reason': reason, 'attempts': attempts}
    if isinstance(unit, Run):
        entry |= {'first': unit.first, 'count': unit.count}
    return entry
