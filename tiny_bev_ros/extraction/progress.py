# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Progress of an extraction: one bar, or plain lines without a terminal, and a summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection
from typing import TextIO

from tqdm import tqdm

from tiny_bev_ros.extraction.scheduler import Outcome
from tiny_bev_ros.extraction.work_units import Survey

# Seconds between plain lines.
_PERIOD_S = 10.0
# Seconds without frames after which a line tells so, and between two such lines.
_STALL_S = 60.0
# Bar of frames whose total still grows, and of which no time left is known.
_GROWING_BAR = '{l_bar}{bar}| {n_fmt}/{total_fmt}+ [{elapsed}, {rate_fmt}{postfix}]'
# Failures that the summary lists; the file of failed units has all.
_LISTED_FAILURES = 10


class ExtractionProgress:
    """Bar over frames on a terminal, else a line every ten seconds.

    Args:
        stream: output; standard error if None.
        clock: time in seconds.
    """

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._start = self._last = self._last_frame = clock()
        self._stall_s = _STALL_S
        self._growing = False
        self._total = self._computed = self._finished = self._failed = 0
        self._shown = -1
        self._bar = tqdm(
            total=0,
            unit='frame',
            desc='extracting',
            disable=None,
            file=self._stream,
            smoothing=0.05,
        )

    def plan(self, frames: int, finished: int = 0) -> None:
        """Notes frames that are to be computed, and frames that were finished before."""
        self._total += frames + finished
        self._finished += finished
        if not self._bar.disable:
            self._bar.total = self._total
            self._bar.initial += finished  # not counted in frames a second
            self._bar.n += finished
            self._bar.refresh()

    def advance(self, frames: int) -> None:
        """Notes computed frames; less than 0 for those of an attempt that failed."""
        self._computed += frames
        if frames:
            self._last_frame, self._stall_s = self._clock(), _STALL_S
        if not self._bar.disable:
            self._bar.update(frames)
        elif self._clock() - self._last >= _PERIOD_S:
            self._write_plain()

    def warn(self, line: str, failed: bool = False) -> None:
        """Shows a line; `failed` if a unit was put aside."""
        self._failed += failed
        tqdm.write(line, file=self._stream)
        if failed and not self._bar.disable:
            self._bar.set_postfix_str(f'{self._failed} failed')

    def refresh(self, uncounted: int, units: Collection[str]) -> None:
        """Notes the state; shows a line if no frame was computed for a minute.

        Args:
            uncounted: number of bags whose frames are not planned yet.
            units: keys of the units that are being computed.
        """
        if self._growing != (uncounted > 0):
            self._growing = uncounted > 0
            self._bar.bar_format = _GROWING_BAR if self._growing else None
        self.advance(0)
        stall_s = self._clock() - self._last_frame
        if stall_s >= self._stall_s:
            self._stall_s = stall_s + _STALL_S
            names = ', '.join(units) or 'workers that start'
            self.warn(f'no frame for {stall_s:.0f} s; in progress: {names}')

    def verified(self, units: int, total: int) -> None:
        """Notes finished units whose files were compared; shows a line every ten seconds."""
        if self._clock() - self._last >= _PERIOD_S:
            self._last = self._clock()
            self.warn(f'{units} of {total} finished units are compared')

    def close(self) -> None:
        """Ends the bar."""
        self._bar.close()

    def _write_plain(self) -> None:
        """Writes a line if frames were computed since the last one."""
        self._last = self._clock()
        done = self._computed + self._finished
        if done == self._shown:
            return
        self._shown = done
        speed = self._computed / max(self._last - self._start, 1e-9)
        known = speed > 0 and not self._growing
        left = f', {(self._total - done) / speed:.0f} s left' if known else ''
        total = f'{self._total}+' if self._growing else f'{self._total}'
        print(
            f'{done} of {total} frames, {speed:.1f} frames/s{left}, {self._failed} failed',
            file=self._stream,
            flush=True,
        )


class Summary:
    """Counts of an extraction.

    Attributes:
        failures: units that were put aside.
    """

    def __init__(self) -> None:
        self.failures: list[Outcome] = []
        self._bags: set[str] = set()
        self._computed = self._finished = self._skipped = 0

    def add(self, outcome: Outcome) -> None:
        """Counts the outcome of a unit."""
        if outcome.result is None:
            self.failures.append(outcome)
            return
        self._bags.add(outcome.unit.name)
        if isinstance(outcome.unit, Survey):
            return
        if outcome.attempts:
            self._computed += outcome.unit.size
        else:
            self._finished += outcome.unit.size
        self._skipped += len(outcome.result.get('skipped', ()))

    def table(self, seconds: float) -> str:
        """Returns the summary as a table of names and numbers.

        Args:
            seconds: time that the extraction took.
        """
        rows = [
            ('bags', f'{len(self._bags)}'),
            ('frames computed', f'{self._computed}'),
            ('frames finished before', f'{self._finished}'),
            ('skipped clouds', f'{self._skipped}'),
            ('failed units', f'{len(self.failures)}'),
            ('seconds', f'{seconds:.1f}'),
            ('frames a second', f'{self._computed / max(seconds, 1e-9):.1f}'),
        ]
        lines = [f'{name:<24}{number:>12}' for name, number in rows]
        lines += [
            f'failed {each.unit.key}: {each.reason}' for each in self.failures[:_LISTED_FAILURES]
        ]
        if (more := len(self.failures) - _LISTED_FAILURES) > 0:
            lines.append(f'and {more} more')
        return '\n'.join(lines)
