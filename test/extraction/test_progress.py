# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Display of the progress of an extraction."""

from __future__ import annotations

import io

from tiny_bev_ros.extraction.progress import ExtractionProgress, Summary
from tiny_bev_ros.extraction.scheduler import Outcome
from tiny_bev_ros.extraction.work_units import Run, Survey


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_come_every_ten_seconds():
    stream, now = io.StringIO(), [0.0]
    progress = ExtractionProgress(stream, lambda: now[0])
    progress.plan(1100)
    progress.plan(0, finished=200)
    for _ in range(200):
        now[0] += 0.125
        progress.advance(4)
    for _ in range(200):  # Nothing happens: no line repeats the last one.
        now[0] += 0.125
        progress.advance(0)
    progress.warn('rec/part-00001: odd; it is put aside', failed=True)
    progress.plan(-256)
    now[0] += 10
    progress.advance(20)
    progress.close()
    assert stream.getvalue().splitlines() == [
        '520 of 1300 frames, 32.0 frames/s, 24 s left, 0 failed',
        '840 of 1300 frames, 32.0 frames/s, 14 s left, 0 failed',
        '1000 of 1300 frames, 26.7 frames/s, 11 s left, 0 failed',
        'rec/part-00001: odd; it is put aside',
        '1020 of 1044 frames, 13.7 frames/s, 2 s left, 1 failed',
    ]


def test_a_terminal_has_one_bar_with_all_counts():
    stream = Terminal()
    progress = ExtractionProgress(stream)
    progress.plan(100, finished=50)
    progress.advance(40)
    progress.advance(-10)
    progress.warn('rec/part-00001: odd; it is put aside', failed=True)
    progress.advance(20)
    progress.close()
    text = stream.getvalue()
    assert 'rec/part-00001: odd; it is put aside\n' in text
    assert '100/150' in text.rpartition('\r')[2]
    assert '1 failed' in text.rpartition('\r')[2]


def test_a_total_that_grows_has_a_plus_and_no_time_left():
    stream, now = io.StringIO(), [0.0]
    progress = ExtractionProgress(stream, lambda: now[0])
    for uncounted in (2, 0):
        progress.plan(100)
        now[0] += 10
        progress.advance(20)
        now[0] += 10
        progress.refresh(uncounted, ['rec/part-00000'])
        progress.advance(20)
        now[0] += 10
        progress.refresh(uncounted, ['rec/part-00000'])
    assert stream.getvalue().splitlines() == [
        '20 of 100 frames, 2.0 frames/s, 40 s left, 0 failed',
        '40 of 100+ frames, 1.3 frames/s, 0 failed',
        '60 of 200+ frames, 1.5 frames/s, 0 failed',
        '80 of 200 frames, 1.3 frames/s, 90 s left, 0 failed',
    ]


def test_the_bar_shows_a_total_that_grows():
    stream = Terminal()
    progress = ExtractionProgress(stream)
    progress.refresh(1, [])
    progress.plan(100)
    assert '0/100+ [' in stream.getvalue().rpartition('\r')[2]
    progress.refresh(0, [])
    progress.plan(50)
    progress.close()
    assert '0/150 [' in stream.getvalue().rpartition('\r')[2]


def test_a_minute_without_frames_is_a_line_that_names_the_units():
    stream, now = io.StringIO(), [0.0]
    progress = ExtractionProgress(stream, lambda: now[0])
    progress.plan(256)
    progress.advance(8)
    for _ in range(125):
        now[0] += 1
        progress.refresh(0, ['a/part-00000', 'b/survey'])
    progress.advance(8)
    for _ in range(65):
        now[0] += 1
        progress.refresh(0, [])
    lines = [line for line in stream.getvalue().splitlines() if line.startswith('no frame')]
    assert lines == [
        'no frame for 60 s; in progress: a/part-00000, b/survey',
        'no frame for 120 s; in progress: a/part-00000, b/survey',
        'no frame for 60 s; in progress: workers that start',
    ]


def test_verification_has_a_line_every_ten_seconds():
    stream, now = io.StringIO(), [0.0]
    progress = ExtractionProgress(stream, lambda: now[0])
    for number in range(1, 26):
        now[0] += 1
        progress.verified(number, 25)
    assert stream.getvalue().splitlines() == [
        '10 of 25 finished units are compared',
        '20 of 25 finished units are compared',
    ]


def test_the_summary_has_frames_failures_and_speed():
    survey = Survey('/rec', 'rec')
    runs = [Run('/rec', 'rec', number, 256 * number, 256) for number in range(14)]
    summary = Summary()
    summary.add(Outcome(survey, {'count': 768}, '', 1))
    summary.add(Outcome(runs[0], {'skipped': [{'index': 1}]}, '', 0))
    summary.add(Outcome(runs[1], {'skipped': []}, '', 2))
    for run in runs[2:]:
        summary.add(Outcome(run, None, 'odd', 2))
    lines = summary.table(12.8).splitlines()
    assert [' '.join(line.split()) for line in lines] == [
        'bags 1',
        'frames computed 256',
        'frames finished before 256',
        'skipped clouds 1',
        'failed units 12',
        'seconds 12.8',
        'frames a second 20.0',
        *(f'failed rec/part-{number:05d}: odd' for number in range(2, 12)),
        'and 2 more',
    ]
    assert len(summary.failures) == 12
