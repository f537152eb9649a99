# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Events of a pool of workers, and the interface of the pools."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tiny_bev_ros.errors import TinyBevError, first_line
from tiny_bev_ros.extraction.work_units import Unit, Worker
from tiny_bev_ros.optional_imports import one_line

# Disk is full, quota is used up, file system is read-only: no unit can be written.
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class Finished(NamedTuple):
    """A unit was computed.

    Attributes:
        unit: unit.
        result: return value of the worker.
    """

    unit: Unit
    result: dict[str, Any]


class Failed(NamedTuple):
    """A unit raised an error; its worker goes on.

    Attributes:
        unit: unit.
        reason: error in one line.
        fatal: True if every other unit would fail too.
        retry: True if a second try may succeed.
    """

    unit: Unit
    reason: str
    fatal: bool
    retry: bool


class Died(NamedTuple):
    """A worker process ended, or cannot go on and is ended; the pool starts another one.

    Attributes:
        unit: unit that it computed; None if it had none.
        reason: cause in one line.
    """

    unit: Unit | None
    reason: str


class Progress(NamedTuple):
    """Frames of a unit were computed.

    Attributes:
        unit: unit.
        frames: number of frames since the last event.
    """

    unit: Unit
    frames: int


PoolEvent = Finished | Failed | Died | Progress


class WorkerPool(Protocol):
    """Worker processes, each with at most one unit; a pool never retries a unit itself.

    Attributes:
        size: largest number of workers.
    """

    size: int

    def idle(self, wanted: int) -> list[int]:
        """Starts missing workers; returns the numbers of those that are ready and have no unit.

        A worker that replaces another one has a new number.

        Args:
            wanted: number of units that wait; no more workers are started than they need.
        """
        ...

    def start(self, worker: int, unit: Unit) -> None:
        """Gives a unit to an idle worker."""
        ...

    def wait(self, timeout_s: float) -> list[PoolEvent]:
        """Waits until something happens, or for a time in seconds.

        Raises:
            TinyBevError: workers cannot start.
        """
        ...

    def close(self) -> None:
        """Ends all workers at once."""
        ...


class StartCounter:
    """Stops starts of workers that end again and again before they are ready.

    Args:
        workers: number of workers of the pool.
    """

    def __init__(self, workers: int) -> None:
        self._limit = workers + 2
        self._failed = 0

    def ready(self) -> None:
        """Notes that a worker is ready."""
        self._failed = 0

    def died(self, reason: str, size: int, ready: int) -> int:
        """Notes that a worker ended before it was ready.

        Args:
            reason: cause in one line.
            size: largest number of workers.
            ready: number of the workers that are ready.

        Returns:
            Largest number of workers from now on: where too many in a row ended so, those that
            are ready go on alone, for example as memory is short.

        Raises:
            TinyBevError: too many workers in a row ended so, and none is ready.
        """
        self._failed += 1
        if self._failed >= self._limit and ready:
            self._failed = 0
            return ready
        if self._failed >= self._limit:
            raise TinyBevError(
                f'{self._failed} workers in a row ended while they started; expected them to load '
                f'the networks ({reason})'
            )
        return size


def start_error(reason: str) -> TinyBevError:
    """Returns the error of a worker that cannot be made.

    Args:
        reason: error of its maker in one line.
    """
    return TinyBevError(f'worker cannot start: {reason}')


def run_unit(
    worker: Worker, unit: Unit, progress: Callable[[int], None]
) -> Finished | Failed | Died:
    """Runs a unit in the process of the worker; any exception becomes an event.

    Args:
        worker: worker.
        unit: unit.
        progress: called with numbers of computed frames.

    Returns:
        `Died` where the process can no longer use its device, so that it must end.
    """
    try:
        return Finished(unit, worker(unit, progress))
    except Exception as error:
        if _device_is_lost(error):
            return Died(unit, describe(error))
        fatal = _is_unwritable(error)
        retry = not fatal and (_memory_is_short(error) or not _is_user_error(error))
        return Failed(unit, describe(error), fatal, retry)


def describe(error: Exception) -> str:
    """Returns an error in one line; with its position in the source if it is a bug."""
    if _is_user_error(error):
        return first_line(error)
    frames = traceback.extract_tb(error.__traceback__)
    position = f' ({Path(frames[-1].filename).name}:{frames[-1].lineno})' if frames else ''
    return one_line(error) + position


def _is_user_error(error: Exception) -> bool:
    return isinstance(error, TinyBevError)


def _device_is_lost(error: Exception) -> bool:
    if 'torch' not in sys.modules:  # nor any device; workers of tests start faster without it
        return False
    import torch

    from tiny_bev_ros.inference.device_errors import device_is_lost, is_device_error

    device = torch.device('cuda') if torch.cuda.is_initialized() else None
    return is_device_error(error) and device_is_lost(error, device)


def _memory_is_short(error: Exception) -> bool:
    if 'torch' not in sys.modules:
        return False
    from tiny_bev_ros.inference.memory import NotEnoughMemoryError

    return isinstance(error, NotEnoughMemoryError)


def _is_unwritable(error: BaseException | None) -> bool:
    """True for an error of a full or read-only disk, or for one that was raised from it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _UNWRITABLE:
            return True
        error = error.__cause__ or error.__context__
    return False
