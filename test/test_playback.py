# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re

import pytest

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.tools.bag import BagTopic, RecordedQos
from tiny_bev_ros.tools.playback import Pulse, Schedule, parse_remap, select

TOPICS = {
    name: BagTopic(name, 'std_msgs/msg/String', 1, RecordedQos()) for name in ('/a', '/b', '/c/d')
}


class Time:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_select() -> None:
    assert [topic.name for topic in select(TOPICS)] == ['/a', '/b', '/c/d']
    assert [topic.name for topic in select(TOPICS, ['c/d', '/a', '/a'])] == ['/c/d', '/a']
    with pytest.raises(TinyBevError, match='topic is /x; expected one of /a, /b, /c/d'):
        select(TOPICS, ['/a', 'x'])


def test_remap() -> None:
    rules = ['/a:=/points', 'c/d:=points']
    assert parse_remap(rules, TOPICS.values()) == {'/a': '/points', '/c/d': 'points'}
    assert parse_remap([], TOPICS.values()) == {}


@pytest.mark.parametrize(
    ('rules', 'said'),
    [
        (['/a'], 'remap is /a; expected FROM:=TO'),
        ([':=/a'], 'remap is :=/a; expected FROM:=TO'),
        (['/a:='], 'remap is /a:=; expected FROM:=TO'),
        (['/a=/b'], 'remap is /a=/b; expected FROM:=TO'),
        (['/x:=/y'], '/x is not played, expected one of /a, /b, /c/d'),
        (['/a:=/y', 'a:=/z'], '/a already goes to /y'),
    ],
)
def test_wrong_remap(rules: list[str], said: str) -> None:
    with pytest.raises(TinyBevError, match=re.escape(said)):
        parse_remap(rules, TOPICS.values())


def test_schedule_follows_the_recording() -> None:
    time = Time()
    schedule = Schedule(2.0, time)
    first = 1_700_000_000 * 10**9
    schedule.begin(first)
    assert schedule.seconds_until(first) == 0
    assert schedule.seconds_until(first + 3 * 10**9) == pytest.approx(1.5)
    time.now += 1.0
    assert schedule.time_ns() == first + 2 * 10**9
    assert schedule.seconds_until(first + 3 * 10**9) == pytest.approx(0.5)
    time.now += 1.0
    assert schedule.seconds_until(first + 3 * 10**9) == pytest.approx(-0.5)


def test_late_wakes_do_not_add_up() -> None:
    time = Time()
    schedule = Schedule(1.0, time)
    schedule.begin(0)
    for index in range(1, 1001):
        wait = schedule.seconds_until(index * 10**7)
        # Each wait takes a little too long, as real ones do.
        time.now += max(0.0, wait) + 0.002
    assert time.now == pytest.approx(110.002)


def test_pulse_keeps_its_frequency_and_skips_what_it_missed() -> None:
    time = Time()
    pulse = Pulse(10.0, time)
    assert pulse.due()
    assert not pulse.due()
    assert pulse.seconds_left() == pytest.approx(0.1)
    time.now += 0.13
    assert pulse.due()
    assert pulse.seconds_left() == pytest.approx(0.07)
    time.now += 1.0
    assert pulse.due()
    assert not pulse.due()
    assert pulse.seconds_left() == pytest.approx(0.07)
