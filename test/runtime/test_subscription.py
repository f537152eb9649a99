# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""The newest item is processed, and each dropped one reported."""

from __future__ import annotations

import time
from threading import Event

from tiny_bev_ros.runtime.subscription import LatestOnlyWorker


class Work:
    """A worker whose processing waits for permission, item by item."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.dropped: list[tuple[int, str]] = []
        self.begun, self.may_end = Event(), Event()
        self.worker: LatestOnlyWorker[int] = LatestOnlyWorker(
            self.work, lambda item, cause: self.dropped.append((item, cause)), 'test'
        )

    def work(self, item: int) -> None:
        self.begun.set()
        assert self.may_end.wait(5)
        self.done.append(item)


def test_a_newer_item_replaces_one_that_waits():
    work = Work()
    work.worker.put(0)
    assert work.begun.wait(5)
    for item in (1, 2, 3):
        work.worker.put(item)
    work.may_end.set()
    end = time.monotonic() + 5
    while len(work.done) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert work.worker.stop(5)
    assert work.done == [0, 3]
    assert work.dropped == [(1, 'replaced'), (2, 'replaced')]


def test_stop_finishes_the_current_item_and_drops_one_that_waits():
    work = Work()
    work.worker.put(0)
    assert work.begun.wait(5)
    work.worker.put(1)
    assert not work.worker.stop(0.01)
    work.worker.put(2)
    work.may_end.set()
    assert work.worker.stop(5)
    assert work.done == [0]
    assert work.dropped == [(1, 'stopped'), (2, 'stopped')]


def test_latency_is_bounded_at_any_rate():
    """Items arrive at 2, 4 and 10 times the rate of processing."""
    for rate in (100, 200, 500):
        ages: list[float] = []

        def work(put: float, ages: list[float] = ages) -> None:
            ages.append(time.monotonic() - put)
            time.sleep(0.02)

        dropped: list[float] = []
        worker: LatestOnlyWorker[float] = LatestOnlyWorker(
            work, lambda item, _, dropped=dropped: dropped.append(item), 'test'
        )
        count = 40
        for _ in range(count):
            worker.put(time.monotonic())
            time.sleep(1 / rate)
        assert worker.stop(5)
        assert len(ages) + len(dropped) == count
        assert len(dropped) > 3
        # An item waits for at most one other; a queue would end at hundreds of ms.
        assert sorted(ages)[len(ages) // 2] < 0.04
