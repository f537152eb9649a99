# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Pool of supervised processes, beside a whole extraction."""

from __future__ import annotations

import os
import signal
import struct
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tiny_bev_ros.extraction.pool_events import Died, Finished, PoolEvent
from tiny_bev_ros.extraction.supervised_pool import SupervisedPool
from tiny_bev_ros.extraction.work_units import Survey, Unit

UNIT = Survey('/bags/rec', 'rec')


def halting_worker(unit: Unit, progress: Callable[[int], None]) -> dict[str, Any]:
    """Is killed while it writes a message into its pipe."""
    cells = [cell.cell_contents for cell in getattr(progress, '__closure__', ())]
    (pipe,) = [each for each in cells if isinstance(each, Connection)]
    os.write(pipe.fileno(), struct.pack('!i', 1000) + b'half a message')
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def make_halting_worker() -> Callable[..., dict[str, Any]]:
    return halting_worker


def quick_worker(unit: Unit, progress: Callable[[int], None]) -> dict[str, Any]:
    return {'pid': os.getpid()}


def make_quick_worker() -> Callable[..., dict[str, Any]]:
    return quick_worker


def make_lost_worker() -> Callable[..., dict[str, Any]]:
    import torch

    def lose_device(unit: Unit, progress: Callable[[int], None]) -> dict[str, Any]:
        assert not torch.cuda.is_initialized()
        raise RuntimeError('CUDA error: an illegal memory access was encountered')

    return lose_device


def make_one_worker(first: Path) -> Callable[..., dict[str, Any]]:
    """Makes the first worker; all others are killed, as if memory were short."""
    try:
        first.touch(exist_ok=False)
    except FileExistsError:
        os.kill(os.getpid(), signal.SIGKILL)
    return quick_worker


def events(pool: SupervisedPool, unit: Unit) -> list[PoolEvent]:
    """Starts a unit on the first worker that is ready; returns the next events."""
    while not (idle := pool.idle(1)):
        pool.wait(60)
    pool.start(idle[0], unit)
    found: list[PoolEvent] = []
    while not found:
        found = pool.wait(60)
    return found


def test_a_worker_that_is_killed_within_a_message_is_dead():
    pool = SupervisedPool(make_halting_worker, 1)
    try:
        assert events(pool, UNIT) == [Died(UNIT, 'the worker was ended by SIGKILL')]
    finally:
        pool.close()


def test_an_idle_worker_that_is_killed_is_replaced():
    pool = SupervisedPool(make_quick_worker, 1)
    try:
        (first,) = events(pool, UNIT)
        assert isinstance(first, Finished)
        (number,) = pool.idle(1)
        os.kill(first.result['pid'], signal.SIGKILL)
        while not pool.wait(60):
            pass
        (second,) = events(pool, UNIT)
        assert isinstance(second, Finished)
        assert second.result != first.result
        assert number not in pool.idle(1)
    finally:
        pool.close()


def test_a_unit_for_a_worker_that_has_just_died_is_reported():
    pool = SupervisedPool(make_quick_worker, 1)
    try:
        (first,) = events(pool, UNIT)
        assert isinstance(first, Finished)
        os.kill(first.result['pid'], signal.SIGKILL)
        time.sleep(0.2)  # The pipe is closed by then, or soon after: both are one event.
        assert events(pool, UNIT) == [Died(UNIT, 'the worker was ended by SIGKILL')]
    finally:
        pool.close()


def test_a_worker_that_lost_its_device_is_replaced():
    pool = SupervisedPool(make_lost_worker, 1)
    try:
        (event,) = events(pool, UNIT)
        assert isinstance(event, Died)
        assert event.reason.startswith('RuntimeError: CUDA error: an illegal memory access')
        assert pool.idle(1) == []  # The next one starts.
    finally:
        pool.close()


def test_a_worker_goes_on_alone_where_others_cannot_start(tmp_path: Path):
    pool = SupervisedPool(partial(make_one_worker, tmp_path / 'first'), 2)
    try:
        while pool.size > 1:
            pool.idle(2)
            pool.wait(60)
        (event,) = events(pool, UNIT)
        assert isinstance(event, Finished)
    finally:
        pool.close()
