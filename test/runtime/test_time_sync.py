# SPDX-License-Identifier: Apache-2.0
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
# A wait that no test sits out.
LONG_S = 20.0


class Rig:
    """A pairing, stamps in ms, and whether everything was counted once."""

    def __init__(self, *names: str) -> None:
        self.log = Recorder()
        self.stats = {name: CameraStats(name, self.log, lambda: 0) for name in names}
        self.pairing: ApproximateTimeSync[int] = ApproximateTimeSync(self.stats)
        self.frames = 0
        self.served = dict.fromkeys(names, 0)

    def put(self, name: str, stamp: int) -> None:
        """The message is its stamp."""
        self.stats[name].count_received()
        self.pairing.put(name, stamp * MS, stamp)

    def take(self, stamp: int, within: int = 50, wait_s: float = 0.0) -> dict[str, int | None]:
        taken = self.pairing.take(stamp * MS, within * MS, wait_s)
        self.frames += 1
        for name, message in taken.items():
            self.served[name] += message is not None
            if message is not None:
                self.pairing.settle(name, message)
        return {name: message and message.item for name, message in taken.items()}

    def check(self) -> None:
        for name, stats in self.stats.items():
            kept = self.pairing._kept[name]
            assert len(kept) <= time_sync._KEPT
            assert stats.pending == sum(not message.settled for message in kept)
            assert self.frames == self.served[name] + stats.missing


@pytest.fixture
def rig() -> Rig:
    return Rig('front', 'left')


def test_the_nearest_of_each_camera_is_taken(rig):
    for stamp in (0, 33, 66, 99, 132):
        rig.put('front', stamp)
    rig.put('left', 140)
    assert rig.take(100) == {'front': 99, 'left': 140}
    front, left = rig.stats.values()
    assert (front.published, front.dropped['unmatched'], front.pending) == (1, 2, 2)
    assert (left.published, left.missing) == (1, 0)
    rig.check()


def test_the_edge_is_within(rig):
    rig.put('front', 50)
    rig.put('left', 151)
    assert rig.take(100) == {'front': 50, 'left': None}
    assert rig.log.lines == [
        'without left (1 so far): the nearest stamp is +51.0 ms from that of the frame; '
        'expected at most 50 ms'
    ]


def test_a_slow_camera_serves_several_frames_and_counts_once(rig):
    rig.put('front', 100)
    assert [rig.take(stamp)['front'] for stamp in (60, 100, 140, 180)] == [100, 100, 100, None]
    assert rig.stats['front'].published == 1
    assert rig.stats['left'].missing == 4
    rig.check()


def test_what_comes_after_its_frame_is_late_unless_the_next_one_takes_it(rig):
    assert rig.take(100)['front'] is None
    rig.put('front', 100)
    rig.put('left', 100)
    assert rig.take(130)['front'] == 100
    rig.put('front', 90)
    rig.take(300)
    front, left = rig.stats.values()
    assert (front.published, front.dropped['late'], front.dropped['unmatched']) == (1, 1, 0)
    assert (left.published, left.dropped['late']) == (1, 0)
    rig.check()


def later(work) -> Thread:
    thread = Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_a_frame_waits_for_the_message_of_its_time(rig):
    rig.put('left', 95)
    rig.put('front', 0)
    thread = later(lambda: [rig.put('front', stamp) for stamp in (33, 99)])
    assert rig.take(100, wait_s=LONG_S) == {'front': 99, 'left': 95}
    thread.join()
    rig.check()


def test_a_frame_does_not_wait_for_a_camera_that_is_further(rig):
    rig.put('left', 95)
    thread = later(lambda: rig.put('front', 200))
    # Else this takes longer than the timeout of the test.
    assert rig.take(100, wait_s=1000.0) == {'front': None, 'left': 95}
    thread.join()
    assert rig.take(200, wait_s=0.0)['front'] == 200


def test_who_was_waited_for_in_vain_is_not_waited_for_until_it_is_heard(rig):
    rig.put('left', 100)
    assert rig.take(100, wait_s=0.01)['front'] is None
    rig.put('left', 200)
    assert rig.take(200, wait_s=1000.0) == {'front': None, 'left': 200}
    rig.put('front', 210)
    rig.put('left', 300)
    thread = later(lambda: rig.put('front', 300))
    assert rig.take(300, wait_s=LONG_S) == {'front': 300, 'left': 300}
    thread.join()


def test_stop_ends_a_wait_and_counts_what_is_kept(rig):
    rig.put('front', 100)
    thread = later(rig.pairing.stop)
    rig.take(500, wait_s=1000.0)
    thread.join()
    rig.put('left', 100)
    front, left = rig.stats.values()
    assert front.dropped['stopped'] + front.dropped['unmatched'] == 1
    assert left.dropped['stopped'] == 1
    assert front.pending == left.pending == 0


def test_what_a_frame_took_is_used_only_once_it_has_been_of_use(rig):
    for stamp in (100, 140):
        rig.put('front', stamp)
    front = rig.stats['front']
    taken = rig.pairing.take(100 * MS, 50 * MS, 0)['front']
    assert (taken.item, front.published, front.pending) == (100, 0, 2)
    rig.pairing.settle('front', taken, 'rejected')
    assert (front.published, front.dropped['rejected'], front.pending) == (0, 1, 1)
    # It is of no use to the next frame either.
    again = rig.pairing.take(110 * MS, 50 * MS, 0)['front']
    assert again.item == 140
    for _ in range(2):
        rig.pairing.settle('front', again)
    assert (front.published, front.dropped.total(), front.pending) == (1, 1, 0)


@pytest.mark.parametrize('ended', ['newer ones', 'stop'])
def test_what_gives_way_while_a_frame_works_on_it_is_counted_once(rig, ended):
    rig.put('front', 0)
    taken = rig.pairing.take(0, 50 * MS, 0)['front']
    if ended == 'stop':
        rig.pairing.stop()
    else:
        for stamp in range(1, 15):
            rig.put('front', stamp)
    front = rig.stats['front']
    before = front.dropped.total()
    rig.pairing.settle('front', taken)
    assert (front.published, front.dropped.total()) == (1, before)
    rig.pairing.stop()
    assert front.pending == 0


def test_a_bag_that_begins_again_is_paired_as_before(rig):
    for _ in range(3):
        for stamp in range(0, 1000, 100):
            rig.put('front', stamp + 5)
            rig.put('left', stamp - 5)
            assert rig.take(stamp) == {'front': stamp + 5, 'left': stamp - 5}
            rig.check()
    assert rig.stats['front'].published == 30
    assert not rig.log.lines


def test_frames_that_begin_again_before_the_cameras(rig):
    rig.put('front', 990)
    rig.put('left', 990)
    rig.take(1000)
    assert rig.take(0) == {'front': None, 'left': None}
    for name in rig.stats:
        rig.put(name, 95)
    assert rig.take(100) == {'front': 95, 'left': 95}
    rig.check()


def test_a_frame_that_begins_again_waits_for_the_cameras(rig, monkeypatch):
    for name in rig.stats:
        rig.put(name, 9990)
    rig.take(10000)

    def wait_for(done, seconds):
        assert not done()
        for name in rig.stats:
            rig.put(name, 5)
        assert done()

    monkeypatch.setattr(rig.pairing._changed, 'wait_for', wait_for)
    assert rig.take(0) == {'front': 5, 'left': 5}
    assert not rig.log.lines
    rig.check()


stamps = st.integers(0, 400)
events = st.lists(st.tuples(st.sampled_from(['front', 'left', 'frame']), stamps), max_size=60)


@PROPERTIES
@given(events=events, within=st.integers(0, 80))
def test_everything_is_counted_once_whatever_comes(events, within):
    rig = Rig('front', 'left')
    for what, stamp in events:
        if what == 'frame':
            for item in rig.take(stamp, within).values():
                assert item is None or abs(item - stamp) <= within
        else:
            rig.put(what, stamp)
        rig.check()
    rig.pairing.stop()
    assert all(stats.pending == 0 for stats in rig.stats.values())


@PROPERTIES
@given(
    events=events,
    period=st.integers(20, 200),
    lag=st.integers(-20, 20),
    begin=st.integers(-500, 500),
)
def test_after_anything_a_regular_stream_is_paired(events, period, lag, begin):
    """No history, of whatever stamps, keeps later frames from their cameras."""
    rig = Rig('front', 'left')
    for what, stamp in events:
        rig.take(stamp) if what == 'frame' else rig.put(what, stamp)
    for index in range(20):
        stamp = begin + index * period
        rig.put('front', stamp + lag)
        rig.put('left', stamp)
        found = rig.take(stamp, within=20)
        if index:
            assert found['front'] is not None and found['left'] is not None
    rig.check()
