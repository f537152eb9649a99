# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

from optional_packages import require_packages

require_packages('rosbags')

import re

import pytest

from tiny_bev_ros.bag.recorded_qos import RecordedQos
from tiny_bev_ros.bag.recorded_topics import BagTopic
from tiny_bev_ros.bag.schedule import Pulse, Schedule, parse_remap, select
from tiny_bev_ros.errors import TinyBevError

TOPICS = {
    name: BagTopic(name, 'std_msgs/msg/String', 1, RecordedQos()) for name in ('/a', '/b', '/c/d')
}


class Time:
    """Clock that is set by the test."""

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
    ('rules', 'message'),
    [
        (['/a'], 'remap is /a; expected FROM:=TO'),
        ([':=/a'], 'remap is :=/a; expected FROM:=TO'),
        (['/a:='], 'remap is /a:=; expected FROM:=TO'),
        (['/a=/b'], 'remap is /a=/b; expected FROM:=TO'),
        (['/x:=/y'], '/x is not played, expected one of /a, /b, /c/d'),
        (['/a:=/y', 'a:=/z'], '/a already goes to /y'),
    ],
)
def test_wrong_remap(rules: list[str], message: str) -> None:
    with pytest.raises(TinyBevError, match=re.escape(message)):
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


def test_time_without_messages_is_skipped_beyond_a_limit() -> None:
    """Imitates a bag that begins before its simulated clock."""
    time = Time()
    schedule = Schedule(2.0, time, longest_gap_s=60.0)
    assert schedule.follow(0) == ''
    begin = 1_700_000_000 * 10**9
    assert schedule.follow(begin) == (
        'the recording has no message for 1700000000.0 s, from 0.000 s to 1700000000.000 s; '
        'that is skipped, as it is more than 60 s'
    )
    assert schedule.seconds_until(begin) == 0
    assert schedule.follow(begin + 60 * 10**9) == ''
    assert schedule.seconds_until(begin + 60 * 10**9) == pytest.approx(30.0)
    assert (schedule.recorded_ns, schedule.skipped) == (60 * 10**9, 1)
    schedule.restart()
    assert (schedule.recorded_ns, schedule.skipped) == (0, 0)
    assert schedule.follow(0) == ''


def test_without_a_limit_every_gap_is_kept() -> None:
    schedule = Schedule(1.0, Time())
    assert schedule.follow(0) == schedule.follow(10**18) == ''
    assert schedule.seconds_until(10**18) == pytest.approx(1e9)


def test_time_that_goes_back_restarts_the_schedule() -> None:
    time = Time()
    schedule = Schedule(1.0, time, longest_gap_s=60.0)
    schedule.follow(100 * 10**9)
    # A message that was recorded out of order is late, without a warning.
    assert schedule.follow(100 * 10**9 - 10**8) == ''
    assert schedule.seconds_until(100 * 10**9 - 10**8) == pytest.approx(-0.1)
    warning = schedule.follow(5 * 10**9)
    assert warning == 'the recorded time goes back by 94.9 s, from 99.900 s to 5.000 s'
    assert schedule.seconds_until(5 * 10**9) == 0
    assert schedule.follow(6 * 10**9) == ''
    assert schedule.seconds_until(6 * 10**9) == pytest.approx(1.0)
    assert (schedule.recorded_ns, schedule.skipped) == (10**9 - 10**8, 1)


def test_late_wakes_do_not_add_up() -> None:
    time = Time()
    schedule = Schedule(1.0, time)
    schedule.begin(0)
    for index in range(1, 1001):
        wait = schedule.seconds_until(index * 10**7)
        # Each wait takes a little too long, as real ones do.
        time.now += max(0.0, wait) + 0.002
    assert time.now == pytest.approx(110.002)


def test_pulse_keeps_its_frequency_and_skips_missed_beats() -> None:
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
