# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_recorder import Recorder

from tiny_bev_ros.runtime import time_sync
from tiny_bev_ros.runtime.stats import CameraStats
from tiny_bev_ros.runtime.time_sync import ApproximateTimeSync

PROPERTIES = settings(deadline=None, derandomize=True, max_examples=300, database=None)
MS = 10**6
# Timeout that no test reaches.
LONG_S = 20.0


class Rig:
    """A synchronizer with stamps in ms; checks that everything is counted once."""

    def __init__(self, *names: str) -> None:
        self.log = Recorder()
        self.stats = {name: CameraStats(name, self.log, lambda: 0) for name in names}
        self.sync: ApproximateTimeSync[int] = ApproximateTimeSync(self.stats)
        self.frames = 0
        self.served = dict.fromkeys(names, 0)

    def add(self, name: str, stamp: int) -> None:
        """Adds a message whose content is its stamp."""
        self.stats[name].count_received()
        self.sync.add(name, stamp * MS, stamp)

    def match(self, stamp: int, slop: int = 50, timeout_s: float = 0.0) -> dict[str, int | None]:
        found = self.sync.match(stamp * MS, slop * MS, timeout_s)
        self.frames += 1
        for name, message in found.items():
            self.served[name] += message is not None
            if message is not None:
                self.sync.report_outcome(name, message)
        return {name: message and message.item for name, message in found.items()}

    def check(self) -> None:
        for name, stats in self.stats.items():
            queue = self.sync._queues[name]
            assert len(queue) <= time_sync._QUEUE_SIZE
            assert stats.pending == sum(not message.counted for message in queue)
            assert self.frames == self.served[name] + stats.missing


@pytest.fixture
def rig() -> Rig:
    return Rig('front', 'left')


def test_the_nearest_message_of_each_camera_matches(rig):
    for stamp in (0, 33, 66, 99, 132):
        rig.add('front', stamp)
    rig.add('left', 140)
    assert rig.match(100) == {'front': 99, 'left': 140}
    front, left = rig.stats.values()
    assert (front.published, front.dropped['unmatched'], front.pending) == (1, 2, 2)
    assert (left.published, left.missing) == (1, 0)
    rig.check()


def test_the_slop_is_inclusive(rig):
    rig.add('front', 50)
    rig.add('left', 151)
    assert rig.match(100) == {'front': 50, 'left': None}
    assert rig.log.lines == [
        'left missing (1 so far): nearest stamp is +51.0 ms from that of the frame; '
        'expected at most 50 ms'
    ]


def test_a_slow_camera_serves_several_frames_and_counts_once(rig):
    rig.add('front', 100)
    assert [rig.match(stamp)['front'] for stamp in (60, 100, 140, 180)] == [100, 100, 100, None]
    assert rig.stats['front'].published == 1
    assert rig.stats['left'].missing == 4
    rig.check()


def test_a_message_after_its_frame_is_late_unless_the_next_one_matches(rig):
    assert rig.match(100)['front'] is None
    rig.add('front', 100)
    rig.add('left', 100)
    assert rig.match(130)['front'] == 100
    rig.add('front', 90)
    rig.match(300)
    front, left = rig.stats.values()
    assert (front.published, front.dropped['late'], front.dropped['unmatched']) == (1, 1, 0)
    assert (left.published, left.dropped['late']) == (1, 0)
    rig.check()


def later(work) -> Thread:
    thread = Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_a_frame_waits_for_the_message_of_its_time(rig):
    rig.add('left', 95)
    rig.add('front', 0)
    thread = later(lambda: [rig.add('front', stamp) for stamp in (33, 99)])
    assert rig.match(100, timeout_s=LONG_S) == {'front': 99, 'left': 95}
    thread.join()
    rig.check()


def test_a_frame_does_not_wait_for_a_camera_that_is_ahead(rig):
    rig.add('left', 95)
    thread = later(lambda: rig.add('front', 200))
    # A wait would exceed the timeout of the test.
    assert rig.match(100, timeout_s=1000.0) == {'front': None, 'left': 95}
    thread.join()
    assert rig.match(200, timeout_s=0.0)['front'] == 200


def test_a_silent_camera_is_not_awaited_until_it_sends(rig):
    rig.add('left', 100)
    assert rig.match(100, timeout_s=0.01)['front'] is None
    rig.add('left', 200)
    assert rig.match(200, timeout_s=1000.0) == {'front': None, 'left': 200}
    rig.add('front', 210)
    rig.add('left', 300)
    thread = later(lambda: rig.add('front', 300))
    assert rig.match(300, timeout_s=LONG_S) == {'front': 300, 'left': 300}
    thread.join()


def test_stop_ends_a_wait_and_counts_queued_messages(rig):
    rig.add('front', 100)
    thread = later(rig.sync.stop)
    rig.match(500, timeout_s=1000.0)
    thread.join()
    rig.add('left', 100)
    front, left = rig.stats.values()
    assert front.dropped['stopped'] + front.dropped['unmatched'] == 1
    assert left.dropped['stopped'] == 1
    assert front.pending == left.pending == 0


def test_a_matched_message_counts_as_used_when_its_outcome_is_reported(rig):
    for stamp in (100, 140):
        rig.add('front', stamp)
    front = rig.stats['front']
    matched = rig.sync.match(100 * MS, 50 * MS, 0)['front']
    assert (matched.item, front.published, front.pending) == (100, 0, 2)
    rig.sync.report_outcome('front', matched, 'rejected')
    assert (front.published, front.dropped['rejected'], front.pending) == (0, 1, 1)
    # It does not match the next frame either.
    again = rig.sync.match(110 * MS, 50 * MS, 0)['front']
    assert again.item == 140
    for _ in range(2):
        rig.sync.report_outcome('front', again)
    assert (front.published, front.dropped.total(), front.pending) == (1, 1, 0)


@pytest.mark.parametrize('ended', ['newer ones', 'stop'])
def test_a_message_dropped_while_a_frame_uses_it_is_counted_once(rig, ended):
    rig.add('front', 0)
    matched = rig.sync.match(0, 50 * MS, 0)['front']
    if ended == 'stop':
        rig.sync.stop()
    else:
        for stamp in range(1, 15):
            rig.add('front', stamp)
    front = rig.stats['front']
    before = front.dropped.total()
    rig.sync.report_outcome('front', matched)
    assert (front.published, front.dropped.total()) == (1, before)
    rig.sync.stop()
    assert front.pending == 0


def test_a_bag_that_starts_over_is_matched_as_before(rig):
    for _ in range(3):
        for stamp in range(0, 1000, 100):
            rig.add('front', stamp + 5)
            rig.add('left', stamp - 5)
            assert rig.match(stamp) == {'front': stamp + 5, 'left': stamp - 5}
            rig.check()
    assert rig.stats['front'].published == 30
    assert not rig.log.lines


def test_frames_that_start_over_before_the_cameras(rig):
    rig.add('front', 990)
    rig.add('left', 990)
    rig.match(1000)
    assert rig.match(0) == {'front': None, 'left': None}
    for name in rig.stats:
        rig.add(name, 95)
    assert rig.match(100) == {'front': 95, 'left': 95}
    rig.check()


def test_a_frame_that_starts_over_waits_for_the_cameras(rig, monkeypatch):
    for name in rig.stats:
        rig.add(name, 9990)
    rig.match(10000)

    def wait_for(done, seconds):
        assert not done()
        for name in rig.stats:
            rig.add(name, 5)
        assert done()

    monkeypatch.setattr(rig.sync._changed, 'wait_for', wait_for)
    assert rig.match(0) == {'front': 5, 'left': 5}
    assert not rig.log.lines
    rig.check()


stamps = st.integers(0, 400)
events = st.lists(st.tuples(st.sampled_from(['front', 'left', 'frame']), stamps), max_size=60)


@PROPERTIES
@given(events=events, slop=st.integers(0, 80))
def test_everything_is_counted_once_in_any_sequence(events, slop):
    rig = Rig('front', 'left')
    for what, stamp in events:
        if what == 'frame':
            for item in rig.match(stamp, slop).values():
                assert item is None or abs(item - stamp) <= slop
        else:
            rig.add(what, stamp)
        rig.check()
    rig.sync.stop()
    assert all(stats.pending == 0 for stats in rig.stats.values())


@PROPERTIES
@given(
    events=events,
    period=st.integers(20, 200),
    lag=st.integers(-20, 20),
    begin=st.integers(-500, 500),
)
def test_a_regular_stream_is_matched_after_any_history(events, period, lag, begin):
    """A history of any stamps does not prevent later matches."""
    rig = Rig('front', 'left')
    for what, stamp in events:
        rig.match(stamp) if what == 'frame' else rig.add(what, stamp)
    for index in range(20):
        stamp = begin + index * period
        rig.add('front', stamp + lag)
        rig.add('left', stamp)
        found = rig.match(stamp, slop=20)
        if index:
            assert found['front'] is not None and found['left'] is not None
    rig.check()
