# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Workers as actors of a Ray cluster, for bags that outgrow one machine."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.extraction.pool_events import (
    Died,
    Failed,
    Finished,
    PoolEvent,
    Progress,
    StartCounter,
    describe,
    run_unit,
    start_error,
)
from tiny_bev_ros.extraction.work_units import Unit, Worker, WorkerFactory
from tiny_bev_ros.optional_imports import import_optional, one_line

# Results are small: units write their files themselves. Ray needs 75 MiB at least.
_OBJECT_STORE_BYTES = 100 * 2**20
# Seconds between two reports of an actor on its progress.
_POLL_S = 0.5
# Group of threads of an actor, beside the one that computes.
_PROGRESS = 'progress'


class RayPool:
    """Pool of Ray actors; see `WorkerPool`. Ray retries nothing: the scheduler does.

    Args:
        make_worker: factory of a worker, called once in each actor.
        workers: number of actors; None for as many as the cluster has room for.
        address: address of a cluster, such as 'auto' or 'ray://host:10001'; '' starts one on this
            machine, unless this process has joined one already.
        num_gpus: GPUs of each actor; 0 on the CPU.
        num_cpus: CPU cores of each actor: its threads.

    Attributes:
        size: largest number of actors.

    Raises:
        TinyBevError: ray is not installed, or the cluster cannot be reached or is too small.
    """

    def __init__(
        self,
        make_worker: WorkerFactory,
        workers: int | None,
        address: str = '',
        num_gpus: float = 0,
        num_cpus: int = 1,
    ) -> None:
        optional = import_optional('ray')
        if optional.module is None:
            raise TinyBevError(f'{optional.reason}; expected it for Ray: pip install ray')
        self._ray = optional.module
        self._make_worker = make_worker
        self._owns_cluster = not self._ray.is_initialized()
        if self._owns_cluster:
            cores = len(os.sched_getaffinity(0)) if workers is None else workers * num_cpus
            _connect(self._ray, max(cores, num_cpus), address)
        room = self._room(num_cpus, num_gpus)
        self.size = room if workers is None else workers
        self._actor_class = self._ray.remote(
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            max_restarts=0,
            max_task_retries=0,
            concurrency_groups={_PROGRESS: 1},
        )(_RayWorker)
        self._actors: dict[int, Any] = {}
        self._units: dict[int, Unit] = {}
        self._ready: set[int] = set()
        # Numbers of actors by pending call: of make_worker or run, and of progress.
        self._calls: dict[Any, int] = {}
        self._polls: dict[Any, int] = {}
        self._made = 0
        self._starts = StartCounter(self.size)

    def idle(self, wanted: int) -> list[int]:
        """Starts missing workers; returns the numbers of those that are ready and have no unit."""
        while len(self._actors) < min(self.size, len(self._units) + wanted):
            self._made += 1
            actor = self._actor_class.remote(self._make_worker)
            self._actors[self._made] = actor
            self._calls[actor.make_worker.remote()] = self._made
        return [number for number in sorted(self._ready) if number not in self._units]

    def start(self, worker: int, unit: Unit) -> None:
        """Gives a unit to an idle worker."""
        self._units[worker] = unit
        self._calls[self._actors[worker].run.remote(unit)] = worker
        self._poll(worker)

    def wait(self, timeout_s: float) -> list[PoolEvent]:
        """Waits until something happens, or for a time in seconds.

        Raises:
            TinyBevError: workers cannot start.
        """
        pending = [*self._calls, *self._polls]
        if not pending:
            return []
        ready, _ = self._ray.wait(pending, num_returns=1, timeout=timeout_s)
        events: list[PoolEvent] = []
        for call in ready:
            # The calls of an actor that died are gone, though they may be ready.
            if call in self._polls:
                events += self._take_progress(call)
            elif call in self._calls:
                events += self._take_answer(call)
        return events

    def close(self) -> None:
        """Ends all workers at once, and the cluster if it was started here."""
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._actors.clear()
        self._leave_cluster()

    def _leave_cluster(self) -> None:
        if self._owns_cluster:
            self._ray.shutdown()

    def _room(self, num_cpus: int, num_gpus: float) -> int:
        """Returns the number of actors for which the cluster has room.

        Raises:
            TinyBevError: it has none for a single one.
        """
        have = self._ray.cluster_resources()
        cpus, gpus = have.get('CPU', 0), have.get('GPU', 0)
        if cpus >= num_cpus and gpus >= num_gpus:
            return int(min(cpus / num_cpus, gpus / num_gpus if num_gpus else cpus))
        self._leave_cluster()
        if gpus < num_gpus:
            raise TinyBevError(
                f'number of GPUs in the Ray cluster is {gpus:g}; expected at least {num_gpus:g}, '
                'or the device cpu'
            )
        raise TinyBevError(
            f'number of CPUs in the Ray cluster is {cpus:g}; expected at least {num_cpus}, the '
            'num_threads of a worker'
        )

    def _take_answer(self, call: Any) -> list[PoolEvent]:
        number = self._calls.pop(call)
        try:
            answer = self._ray.get(call)
        except self._ray.exceptions.RayError as error:
            return self._remove(number, _death_reason(error))
        if isinstance(answer, str):
            raise start_error(answer)
        if answer is None:
            self._ready.add(number)
            self._starts.ready()
            return []
        if isinstance(answer, Died):
            return self._remove(number, answer.reason)
        del self._units[number]
        return [answer]

    def _take_progress(self, call: Any) -> list[PoolEvent]:
        number = self._polls.pop(call)
        try:
            progress: Progress | None = self._ray.get(call)
        except self._ray.exceptions.RayError:
            return []  # The call of run reports the death.
        unit = self._units.get(number)
        if unit is None:
            return []
        self._poll(number)
        return [progress] if progress is not None and progress.unit == unit else []

    def _poll(self, number: int) -> None:
        if number not in self._polls.values():
            actor = self._actors[number]
            # In a thread of its own; else it would wait for the end of the unit.
            call = actor.progress.options(concurrency_group=_PROGRESS).remote()
            self._polls[call] = number

    def _remove(self, number: int, reason: str) -> list[PoolEvent]:
        self._ray.kill(self._actors.pop(number))
        self._polls = {call: each for call, each in self._polls.items() if each != number}
        if number in self._ready:
            self._ready.discard(number)
        else:
            self.size = self._starts.died(reason, self.size, len(self._ready))
        return [Died(self._units.pop(number, None), reason)]


class _RayWorker:
    """Actor: computes a unit in one thread and reports its progress in another."""

    def __init__(self, make_worker: WorkerFactory) -> None:
        self._make_worker = make_worker
        self._worker: Worker
        self._unit: Unit | None = None
        self._frames = 0  # since the last answer
        self._lock = threading.Lock()

    def make_worker(self) -> str | None:
        """Loads the networks; returns the error in one line, None without one."""
        try:
            self._worker = self._make_worker()
        except Exception as error:
            return describe(error)
        return None

    def run(self, unit: Unit) -> Finished | Failed | Died:
        """Computes a unit."""
        with self._lock:
            self._unit, self._frames = unit, 0
        return run_unit(self._worker, unit, self._advance)

    def progress(self) -> Progress | None:
        """Returns the number of frames since the last answer; None before the first unit."""
        time.sleep(_POLL_S)
        with self._lock:
            frames, self._frames = self._frames, 0
            return None if self._unit is None else Progress(self._unit, frames)

    def _advance(self, frames: int) -> None:
        with self._lock:
            self._frames += frames


def _connect(ray: Any, workers: int, address: str) -> None:
    """Joins a cluster, or starts a quiet one on this machine.

    Raises:
        TinyBevError: the cluster cannot be reached or started.
    """
    settings: dict[str, Any] = {'log_to_driver': False, 'logging_level': 'ERROR'}
    if address:
        settings |= {'address': address}
    else:
        os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')  # no statistics leave the machine
        settings |= {
            'address': 'local',  # else Ray joins any cluster that runs here
            'num_cpus': workers,
            'include_dashboard': False,
            'object_store_memory': _OBJECT_STORE_BYTES,
        }
    try:
        ray.init(**settings)
    except Exception as error:  # Ray raises many kinds
        raise TinyBevError(
            f'Ray cluster {address or "on this machine"} cannot be used ({one_line(error)}); '
            'expected one that answers'
        ) from None


def _death_reason(error: Exception) -> str:
    """Returns the cause of the end of an actor in one line."""
    lines = [line.strip() for line in str(error).splitlines()]
    details = [
        line for line in lines if line.startswith(('Worker exit', 'The actor died because'))
    ]
    return f'the Ray worker ended: {" ".join(details) or one_line(error)}'
