# SPDX-License-Identifier: Apache-2.0
"""Only the newest is worked on, and each of the others is told."""

from __future__ import annotations

import time
from threading import Event

from tiny_bev_ros.runtime.subscription import LatestOnlyWorker


class Work:
    """Work that waits for permission, item by item."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.dropped: list[tuple[int, str]] = []
        self.begun, self.may_end = Event(), Event()
        self.newest: LatestOnlyWorker[int] = LatestOnlyWorker(
            self.work, lambda item, cause: self.dropped.append((item, cause)), 'test'
        )

    def work(self, item: int) -> None:
        self.begun.set()
        assert self.may_end.wait(5)
        self.done.append(item)


def test_what_arrives_meanwhile_replaces_what_waits():
    work = Work()
    work.newest.put(0)
    assert work.begun.wait(5)
    for item in (1, 2, 3):
        work.newest.put(item)
    work.may_end.set()
    end = time.monotonic() + 5
    while len(work.done) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert work.newest.stop(5)
    assert work.done == [0, 3]
    assert work.dropped == [(1, 'replaced'), (2, 'replaced')]


def test_stopping_ends_what_is_worked_on_and_drops_what_waits():
    work = Work()
    work.newest.put(0)
    assert work.begun.wait(5)
    work.newest.put(1)
    assert not work.newest.stop(0.01)
    work.newest.put(2)
    work.may_end.set()
    assert work.newest.stop(5)
    assert work.done == [0]
    assert work.dropped == [(1, 'stopped'), (2, 'stopped')]


def test_latency_is_bounded_however_fast_items_come():
    """At 10, 20 and 50 Hz into what manages 5, in a tenth of the time."""
    for rate in (100, 200, 500):
        ages: list[float] = []

        def work(put: float, ages: list[float] = ages) -> None:
            ages.append(time.monotonic() - put)
            time.sleep(0.02)

        dropped: list[float] = []
        newest: LatestOnlyWorker[float] = LatestOnlyWorker(
            work, lambda item, _, dropped=dropped: dropped.append(item), 'test'
        )
        count = 40
        for _ in range(count):
            newest.put(time.monotonic())
            time.sleep(1 / rate)
        assert newest.stop(5)
        assert len(ages) + len(dropped) == count
        assert len(dropped) > 3
        # An item waits for at most one other; a queue would end at hundreds of ms.
        assert sorted(ages)[len(ages) // 2] < 0.04
