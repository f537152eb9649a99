# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Worker processes on one machine that survive the end of each of them.

`ProcessPoolExecutor` breaks and `multiprocessing.Pool` hangs when a worker is killed, for example
by the kernel when memory is short. Here each worker has a pipe of its own, which closes when the
worker ends, and no lock is shared.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from tiny_bev_ros.extraction.pool_events import (
    Died,
    PoolEvent,
    Progress,
    StartCounter,
    describe,
    run_unit,
    start_error,
)
from tiny_bev_ros.extraction.work_units import Unit, WorkerFactory

_SPAWN = multiprocessing.get_context('spawn')


class SupervisedPool:
    """Pool of spawned processes; see `WorkerPool`.

    Args:
        make_worker: factory of a worker, called once in each process.
        workers: number of processes.

    Attributes:
        size: largest number of processes.
    """

    def __init__(self, make_worker: WorkerFactory, workers: int) -> None:
        self._make_worker = make_worker
        self.size = workers
        self._processes: dict[int, _WorkerProcess] = {}
        self._made = 0
        self._starts = StartCounter(workers)

    def idle(self, wanted: int) -> list[int]:
        """Starts missing workers; returns the numbers of those that are ready and have no unit."""
        busy = sum(each.unit is not None for each in self._processes.values())
        while len(self._processes) < min(self.size, busy + wanted):
            self._made += 1
            self._processes[self._made] = _WorkerProcess(self._make_worker)
        return [n for n, each in self._processes.items() if each.ready and each.unit is None]

    def start(self, worker: int, unit: Unit) -> None:
        """Gives a unit to an idle worker."""
        self._processes[worker].send(unit)

    def wait(self, timeout_s: float) -> list[PoolEvent]:
        """Waits until something happens, or for a time in seconds.

        Raises:
            TinyBevError: workers cannot start.
        """
        ready = wait([each.connection for each in self._processes.values()], timeout_s)
        numbers = [n for n, each in self._processes.items() if each.connection in ready]
        return [event for number in numbers for event in self._receive(number)]

    def close(self) -> None:
        """Ends all workers at once."""
        for each in self._processes.values():
            each.process.kill()
        for each in self._processes.values():
            each.end_reason()
        self._processes.clear()

    def _receive(self, number: int) -> list[PoolEvent]:
        """Takes one message of a worker; those that it sent before it ended stay in its pipe."""
        worker = self._processes[number]
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):  # OSError: the worker was killed within a message
            return self._remove(number)
        if message is None:
            worker.ready = True
            self._starts.ready()
            return []
        if isinstance(message, str):
            raise start_error(message)
        if isinstance(message, Died):
            worker.process.kill()
            self._remove(number)
            return [message]
        if not isinstance(message, Progress):
            worker.unit = None
        return [message]

    def _remove(self, number: int) -> list[PoolEvent]:
        worker = self._processes.pop(number)
        reason = worker.end_reason()
        if not worker.ready:
            ready = sum(each.ready for each in self._processes.values())
            self.size = self._starts.died(reason, self.size, ready)
        return [Died(worker.unit, reason)]


class _WorkerProcess:
    """A process with its pipe and its unit."""

    def __init__(self, make_worker: WorkerFactory) -> None:
        self.connection, theirs = _SPAWN.Pipe()
        self.process: SpawnProcess = _SPAWN.Process(
            target=_work, args=(make_worker, theirs), daemon=True, name='extraction worker'
        )
        with _without_interrupts():
            self.process.start()
        theirs.close()  # else the pipe would not end with the process
        self.ready = False
        self.unit: Unit | None = None

    def send(self, unit: Unit) -> None:
        self.unit = unit
        with suppress(OSError):  # The process may have ended: the end of its pipe reports it.
            self.connection.send(unit)

    def end_reason(self) -> str:
        """Waits for the end of the process; returns its cause."""
        self.process.join(5)
        if self.process.exitcode is None:  # It closed its pipe and hangs.
            self.process.kill()
            self.process.join()
        self.connection.close()
        code = self.process.exitcode or 0
        if code < 0:
            return f'the worker was ended by {signal.Signals(-code).name}'
        return f'the worker ended with exit code {code}'


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Blocks SIGINT: a process that is started here never gets it.

    Ctrl-C in a terminal signals all its processes, and workers would print tracebacks. The driver
    alone handles it; an interrupt of the driver in the meantime arrives afterwards.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(make_worker: WorkerFactory, connection: Connection) -> None:
    """Main function of a worker process: sends an error, or None when it is ready, then events."""
    # Threads of libraries may not have the mask of `_without_interrupts`.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    units: queue.SimpleQueue[Unit] = queue.SimpleQueue()
    threading.Thread(target=_receive_units, args=(connection, units), daemon=True).start()
    try:
        worker = make_worker()
    except Exception as error:
        _send(connection, describe(error))
        return
    _send(connection, None)
    while True:
        unit = units.get()

        def progress(frames: int, unit: Unit = unit) -> None:
            _send(connection, Progress(unit, frames))

        _send(connection, run_unit(worker, unit, progress))


def _receive_units(connection: Connection, units: queue.SimpleQueue[Unit]) -> None:
    """Passes units on; ends the process with its driver, even in the middle of a unit."""
    while True:
        try:
            units.put(connection.recv())
        except Exception:  # End of the driver, or a unit that cannot be unpickled here.
            os._exit(1)


def _send(connection: Connection, message: Any) -> None:
    try:
        connection.send(message)
    except OSError:  # The driver has ended.
        os._exit(1)
