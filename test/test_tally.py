# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from tiny_bev_ros.transport.tally import Tally


class Recorder:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def error(self, line: str) -> None:
        self.lines.append(line)

    warning = error


def test_each_reason_is_told_once_in_ten_seconds_and_every_one_counted():
    log, now = Recorder(), [0]
    tally = Tally(log, lambda: now[0])
    for _ in range(5):
        tally.reject('points', ValueError('a'))
    tally.reject('points', ValueError('b'))
    assert log.lines == ['points rejected (1 so far): a', 'points rejected (6 so far): b']
    now[0] = 10 * 10**9
    tally.reject('points', ValueError('a'))
    assert log.lines[2:] == ['points rejected (7 so far): a']
    assert tally.rejected == 7


def test_the_same_fault_with_other_numbers_is_told_a_few_times():
    log = Recorder()
    tally = Tally(log, lambda: 0)
    for cell in range(30):
        tally.reject('points', ValueError(f'data holds nan at row {cell}, {cell / 7}'))
    tally.reject('points', ValueError('data holds inf at row 3, 0.5'))
    assert len(log.lines) == 5 + 1
    assert tally.rejected == 31


def test_reasons_that_never_repeat_take_bounded_memory():
    tally = Tally(Recorder(), lambda: 0)
    for number in range(5000):
        name = ''.join(chr(ord('a') + int(digit)) for digit in str(number))
        tally.reject('points', ValueError(name))
    assert len(tally._told) <= 200


def test_dropped_points_are_told_once_and_counted():
    log = Recorder()
    tally = Tally(log, lambda: 0)
    for count in (0, 3, 4):
        tally.drop_points(count)
    assert log.lines == ['left out 3 points that are not finite']
    assert tally.points_dropped == 7


def test_summary():
    tally = Tally(Recorder(), lambda: 0)
    tally.received, tally.published, tally.skipped, tally.rejected = 6, 3, 2, 1
    assert str(tally) == (
        'received 6, published 3, skipped 2, rejected 1; 0 points were not finite'
    )
