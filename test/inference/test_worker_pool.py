# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Work on several threads: blocks of equal size, all of them done once."""

from __future__ import annotations

import threading

import pytest

from tiny_bev_ros.inference.worker_pool import WorkerPool


@pytest.mark.parametrize('threads', [1, 2, 3])
@pytest.mark.parametrize('total', [1, 7, 256, 1024, 4097])
def test_threads_get_equally_many_blocks(threads: int, total: int):
    size = WorkerPool(threads).block_size(total, 120)
    assert 1 <= size <= 120
    blocks = -(-total // size)
    least = -(-total // 120)
    assert blocks < least + threads  # no more than the balance takes
    if total > 120 * threads:
        assert blocks % threads == 0


def test_all_blocks_are_done_once_on_the_threads_of_the_pool():
    pool, done, names = WorkerPool(2), list[int](), set[str]()
    barrier = threading.Barrier(2, timeout=60)

    def work(block: int) -> None:
        if block < 2:
            barrier.wait()  # by both threads
        done.append(block)
        names.add(threading.current_thread().name)

    pool.run(work, range(9))
    assert sorted(done) == list(range(9))
    assert len(names) == 2 and threading.current_thread().name not in names
