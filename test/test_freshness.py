# SPDX-License-Identifier: Apache-2.0
"""What is too old or too new, by clocks that stand, run and jump."""

from __future__ import annotations

import pytest

from tiny_bev_ros.transport.freshness import Freshness, NotFreshError
from tiny_bev_ros.transport.tally import Tally


class Recorder:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warning = self.error = self.lines.append


class Clock:
    """A clock that is set by hand, s."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.log = Recorder()
        self.tally = Tally(self.log, lambda: 0)
        self.freshness = Freshness(lambda: int(self.now * 1e9), self.tally)

    def cause(self, stamp: float, again: bool = False) -> str:
        """Why a stamp is not fresh; '' if it is."""
        check = self.freshness.check if again else self.freshness.begin
        try:
            check((int(stamp), round(stamp % 1 * 1e9)))
        except NotFreshError as error:
            assert str(error).startswith('stamp is')
            return error.cause
        return ''


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_without_a_limit_everything_is_fresh(clock):
    assert [clock.cause(stamp) for stamp in (0.0, 1000.0, 5000.0)] == ['', '', '']


def test_the_limit_holds_both_ways(clock):
    clock.freshness.max_age_ms = 100.0
    stamps = (999.91, 999.89, 1000.09, 1000.11)
    assert [clock.cause(stamp) for stamp in stamps] == ['', 'stale', '', 'future']


def test_the_age_is_looked_at_again_before_publishing(clock):
    clock.freshness.max_age_ms = 100.0
    assert clock.cause(999.95) == ''
    clock.now += 0.06
    assert clock.cause(999.95, again=True) == 'stale'
    assert clock.freshness.age_ms((999, 950000000)) == pytest.approx(110.0)


def test_a_bag_that_begins_again_takes_its_clock_along(clock):
    clock.freshness.max_age_ms = 100.0
    assert clock.cause(999.95) == ''
    clock.now = 500.0
    # What was on its way when the bag began again is of a time that has not come.
    assert clock.cause(999.96) == 'future'
    assert [clock.cause(stamp) for stamp in (499.98, 499.99)] == ['', '']
    assert clock.tally.backwards == 1
    assert 'went back by 499.980 s' in clock.log.lines[0]


def test_a_simulated_clock_that_has_not_begun(clock):
    clock.now = 0.0
    assert clock.cause(1700000000.0) == ''
    clock.freshness.max_age_ms = 100.0
    assert clock.cause(1700000000.0) == 'future'


def test_equal_stamps_do_not_go_back(clock):
    assert [clock.cause(5.0), clock.cause(5.0)] == ['', '']
    assert clock.tally.backwards == 0
