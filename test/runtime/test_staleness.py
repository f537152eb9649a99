# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Stale and future stamps, by clocks that stand, run and jump."""

from __future__ import annotations

import pytest

from tiny_bev_ros.runtime.staleness import NO_CLOCK, StaleInputError, StalenessCheck
from tiny_bev_ros.runtime.stats import InputStats


class Recorder:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.notes: list[str] = []
        self.warning = self.error = self.lines.append
        self.info = self.notes.append


class Clock:
    """A clock that the test sets, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.log = Recorder()
        self.stats = InputStats(self.log, lambda: 0)
        self.staleness = StalenessCheck(lambda: int(self.now * 1e9), self.stats)

    def cause(self, stamp: float, again: bool = False) -> str:
        """Returns the cause for which a stamp is rejected, or ''."""
        check = self.staleness.check if again else self.staleness.check_input
        try:
            check((int(stamp), round(stamp % 1 * 1e9)))
        except StaleInputError as error:
            assert str(error).startswith('stamp is')
            return error.cause
        return ''


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_without_a_limit_no_stamp_is_stale(clock):
    assert [clock.cause(stamp) for stamp in (0.0, 1000.0, 5000.0)] == ['', '', '']


def test_the_limit_holds_both_ways(clock):
    clock.staleness.max_age_ms = 100.0
    stamps = (999.91, 999.89, 1000.09, 1000.11)
    assert [clock.cause(stamp) for stamp in stamps] == ['', 'stale', '', 'future']


def test_the_age_is_checked_again_before_publishing(clock):
    clock.staleness.max_age_ms = 100.0
    assert clock.cause(999.95) == ''
    clock.now += 0.06
    assert clock.cause(999.95, again=True) == 'stale'
    assert clock.staleness.age_ms((999, 950000000)) == pytest.approx(110.0)


def test_a_bag_that_starts_over_resets_its_clock(clock):
    clock.staleness.max_age_ms = 100.0
    assert clock.cause(999.95) == ''
    clock.now = 500.0
    # A message in transit when the bag started over is ahead of the clock.
    assert clock.cause(999.96) == 'future'
    assert [clock.cause(stamp) for stamp in (499.98, 499.99)] == ['', '']
    assert clock.stats.time_jumps == 1
    assert 'jumped back by 499.980 s' in clock.log.notes[0]


def test_a_simulated_clock_that_has_not_begun_gives_no_age(clock):
    clock.now = 0.0
    assert clock.staleness.clock_is_missing
    assert clock.cause(1700000000.0) == ''
    assert clock.staleness.age_ms((1700000000, 0)) is None
    assert clock.staleness.unknown_age_reason == NO_CLOCK
    clock.now = 1700000000.02
    assert clock.staleness.age_ms((1700000000, 0)) == pytest.approx(20.0, abs=0.001)
    assert clock.staleness.unknown_age_reason == ''
    assert not clock.staleness.clock_is_missing


def test_a_stamp_that_is_not_set_gives_no_age(clock):
    assert clock.staleness.age_ms((0, 0)) is None
    assert clock.staleness.unknown_age_reason == 'the stamp of the input is not set'


@pytest.mark.parametrize(
    ('now', 'stamp', 'cause', 'reason'),
    [(0.0, 1700000000, 'future', NO_CLOCK), (1000.0, 0, 'stale', 'stamp of the input is not set')],
)
def test_with_a_limit_an_unknown_age_is_stale(clock, now, stamp, cause, reason):
    clock.now = now
    clock.staleness.max_age_ms = 100.0
    with pytest.raises(StaleInputError, match=f'age is unknown: .*{reason}; exp') as error:
        clock.staleness.check_input((stamp, 0))
    assert error.value.cause == cause


@pytest.mark.parametrize(
    'stamps',
    [
        [0.0, 0.1],  # a short bag
        [i / 10 for i in range(300)],
        [1.7e9 + i / 10 for i in range(300)],
    ],
)
@pytest.mark.parametrize('taken', [1, 7])
def test_restarts_of_a_bag_are_logged_once_and_without_warning(clock, stamps, taken):
    """A slow node processes only some of the inputs, other ones in each round."""
    played = [stamp for _ in range(taken * 5) for stamp in stamps][::taken]
    for stamp in played:
        assert clock.cause(stamp) == ''
    assert clock.log.lines == []
    assert len(clock.log.notes) == 1
    assert 'a bag or a simulation started over' in clock.log.notes[0]
    assert clock.stats.restarts == clock.stats.time_jumps > 3


def test_restarts_of_several_bags_are_no_warning(clock):
    for begin in (1.7e9, 1.6e9, 1.8e9):
        for _ in range(3):
            for step in range(50):
                clock.cause(begin + step / 10)
    assert clock.log.lines == []
    assert clock.stats.restarts == 3 * 2 + 1


@pytest.mark.parametrize('apart', [0.05, 60.0])
def test_two_publishers_are_a_warning(clock, apart):
    for step in range(100):
        clock.cause(1000.0 + step / 10)
        clock.cause(1000.0 + step / 10 - apart)
    assert 'there are two publishers' in clock.log.lines[0]
    assert len(clock.log.notes) <= 1


def test_a_clock_that_was_set_is_a_warning(clock):
    for step in range(100):
        clock.cause(1000.0 + step / 10)
    clock.cause(1006.5)
    assert 'jumped back by 3.400 s: inputs arrive out of order' in clock.log.lines[0]
    assert (clock.stats.time_jumps, clock.stats.restarts) == (1, 0)


def test_equal_stamps_do_not_jump(clock):
    assert [clock.cause(5.0), clock.cause(5.0)] == ['', '']
    assert clock.stats.time_jumps == 0
