# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Cheap extraction: workers that write small files and fail on request; a driver as a program."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.extraction.output_folder import OutputFolder
from tiny_bev_ros.extraction.output_manifest import open_output
from tiny_bev_ros.extraction.pool_events import WorkerPool
from tiny_bev_ros.extraction.scheduler import Outcome, Scheduler
from tiny_bev_ros.extraction.supervised_pool import SupervisedPool
from tiny_bev_ros.extraction.work_units import SINGLE, Run, Shard, Unit, plan_surveys

# Two bags with five and two runs, an empty one, and one that cannot be surveyed.
BAGS = {'/data/a/rec': 1100, '/data/b/rec': 300, '/data/empty': 0, '/data/broken': -1}
RUNS = 7


class RecordedProgress:
    """Listener that keeps numbers of frames and lines."""

    def __init__(self) -> None:
        self.planned = self.frames = 0
        self.lines: list[str] = []
        self.uncounted: list[int] = []

    def plan(self, frames: int, finished: int = 0) -> None:
        self.planned += frames + finished
        self.frames += finished

    def advance(self, frames: int) -> None:
        self.frames += frames

    def warn(self, line: str, failed: bool = False) -> None:
        self.lines.append(line)

    def refresh(self, uncounted: int, units: Collection[str]) -> None:
        self.uncounted.append(uncounted)


@dataclass(frozen=True)
class FakeWorkerFactory:
    """Makes workers.

    Attributes:
        folder: output folder.
        log: folder of files that count how often each unit was started and committed.
        faults: faults by the key of a unit: `kill`, `exit`, `raise`, `lose`, `refuse`,
            `full`, each `always` or `once` after a blank, or `dev_full`.
        pause_s: time of a step of 32 frames.
        broken_start: error with which workers are not made.
    """

    folder: OutputFolder
    log: Path
    faults: dict[str, str] = field(default_factory=dict)
    pause_s: float = 0.002
    broken_start: str = ''

    def __call__(self) -> FakeWorker:
        if self.broken_start == 'kill':
            os.kill(os.getpid(), signal.SIGKILL)
        if self.broken_start:
            raise RuntimeError(self.broken_start)
        self.log.mkdir(exist_ok=True)
        (self.log / f'pid-{os.getpid()}').touch()
        return FakeWorker(self)


class FakeWorker:
    """Writes a file of pseudo-random bytes for each run."""

    def __init__(self, options: FakeWorkerFactory) -> None:
        self._options = options

    def __call__(self, unit: Unit, progress: Callable[[int], None]) -> dict[str, Any]:
        self._count('started', unit)
        folder = self._options.folder
        partial = folder.partial_folder(unit)
        if isinstance(unit, Run):
            self._write(unit, partial, progress)
            result: dict[str, Any] = {'frames': unit.count, 'skipped': [], 'state': unit.mounting}
        else:
            result = self._survey(unit)
        result = folder.commit(unit, partial, result)
        self._count('committed', unit)
        return result

    def _survey(self, unit: Unit) -> dict[str, Any]:
        self._fail(unit)
        count = BAGS[unit.path]
        if count < 0:
            raise TinyBevError(f'{unit.path} is broken; expected a bag')
        return {'count': count, 'mounting': [{'run': k} for k in range(-(-count // 256))]}

    def _write(self, unit: Run, partial: Path, progress: Callable[[int], None]) -> None:
        path = partial / 'detections' / unit.name / f'part-{unit.number:05d}.parquet'
        path.parent.mkdir(parents=True)
        with path.open('wb') as file:
            for step in range(0, unit.count, 32):
                file.write(hashlib.sha256(f'{unit.key} {step}'.encode()).digest() * 100)
                file.flush()
                progress(min(32, unit.count - step))
                time.sleep(self._options.pause_s)
                if step == 32:
                    self._fail(unit)

    def _fail(self, unit: Unit) -> None:
        kind, _, times = self._options.faults.get(unit.key, ' ').partition(' ')
        if times == 'once' and self.count('started', unit) > 1:
            return
        if kind == 'kill':
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == 'exit':
            sys.exit(7)
        if kind == 'raise':
            raise RuntimeError('odd\nsecond line')
        if kind == 'lose':
            import torch

            assert not torch.cuda.is_initialized()
            raise RuntimeError('CUDA error: an illegal memory access was encountered')
        if kind == 'refuse':
            raise TinyBevError('cloud is odd; expected an even one')
        if kind == 'full':
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if kind == 'dev_full':
            with Path('/dev/full').open('wb') as file:
                file.write(b'x')

    def _count(self, kind: str, unit: Unit) -> None:
        with (self._options.log / f'{kind}.txt').open('a') as file:
            file.write(f'{unit.key}\n')

    def count(self, kind: str, unit: Unit) -> int:
        return counted(self._options.log, kind).count(unit.key)


def counted(log: Path, kind: str) -> list[str]:
    """Keys of units, once each time that they were `started` or `committed`."""
    path = log / f'{kind}.txt'
    return path.read_text().splitlines() if path.exists() else []


def digests(output: Path) -> dict[str, str]:
    """SHA-256 of all files of an output but the lists of failed units."""
    return {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(output.rglob('*'))
        if path.is_file() and not path.name.startswith('failed')
    }


def living_workers(log: Path) -> list[int]:
    """Processes that made workers and still exist, zombies excluded."""
    found = []
    for path in log.glob('pid-*'):
        number = int(path.name.partition('-')[2])
        try:
            state = Path(f'/proc/{number}/stat').read_text().rpartition(')')[2].split()[0]
        except OSError:
            continue
        if state not in 'ZX':
            found.append(number)
    return found


def extract(
    output: Path,
    log: Path,
    make_pool: Callable[[FakeWorkerFactory, int], WorkerPool] = SupervisedPool,
    workers: int = 2,
    shard: Shard = SINGLE,
    retries: int = 1,
    each: Callable[[Outcome], None] = lambda outcome: None,
    progress: RecordedProgress | None = None,
    bags: Iterable[str] = tuple(BAGS),
    **options: Any,
) -> list[Outcome]:
    """Extracts all bags as the program would; returns the outcomes."""
    outcomes = []
    with open_output(output, {'configuration': {'cell': 0.2}}, shard) as folder:
        pool = make_pool(FakeWorkerFactory(folder, log, **options), workers)
        try:
            scheduler = Scheduler(pool, folder, progress or RecordedProgress(), retries)
            for outcome in scheduler.outcomes(plan_surveys(bags)):
                outcomes.append(outcome)
                each(outcome)
        finally:
            pool.close()
    return outcomes


def main() -> int:
    """Driver in a process of its own: OUTPUT LOG PAUSE_S [FAULTS as JSON]."""
    output, log, pause_s, *faults = sys.argv[1:]
    try:
        outcomes = extract(
            Path(output),
            Path(log),
            pause_s=float(pause_s),
            faults=json.loads(faults[0]) if faults else {},
        )
    except TinyBevError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 2 if any(outcome.result is None for outcome in outcomes) else 0


if __name__ == '__main__':
    sys.exit(main())
