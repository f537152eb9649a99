# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Errors of units become events."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.extraction.pool_events import Died, Failed, StartCounter, run_unit
from tiny_bev_ros.extraction.work_units import Survey, Unit
from tiny_bev_ros.inference.memory import NotEnoughMemoryError

UNIT = Survey('/bags/rec', 'rec')
LOST = RuntimeError('CUDA error: an illegal memory access was encountered')


def raising(error: Exception) -> Callable[..., dict[str, Any]]:
    def worker(unit: Unit, progress: Callable[[int], None]) -> dict[str, Any]:
        raise error

    return worker


@pytest.mark.parametrize(
    ('error', 'fatal', 'retry'),
    [
        (TinyBevError('cloud is odd; expected an even one'), False, False),
        (NotEnoughMemoryError('memory is 1 MiB; expected 2 MiB'), False, True),
        (RuntimeError('odd'), False, True),
        (RuntimeError('CUDA error: out of memory'), False, True),
        (OSError(errno.ENOSPC, 'No space left on device'), True, False),
    ],
)
def test_errors_are_retried_or_not(error: Exception, fatal: bool, retry: bool):
    event = run_unit(raising(error), UNIT, lambda frames: None)
    assert isinstance(event, Failed)
    assert (event.fatal, event.retry) == (fatal, retry)


def test_a_lost_device_ends_the_worker():
    event = run_unit(raising(LOST), UNIT, lambda frames: None)
    assert isinstance(event, Died)
    assert event.reason.startswith('RuntimeError: CUDA error: an illegal memory access')


def test_starts_that_fail_end_the_pool_only_where_no_worker_is_ready():
    starts = StartCounter(2)
    assert [starts.died('killed', 2, 1) for _ in range(4)] == [2, 2, 2, 1]
    assert [starts.died('killed', 2, 0) for _ in range(3)] == [2, 2, 2]
    with pytest.raises(TinyBevError, match='4 workers in a row ended while they started'):
        starts.died('killed', 2, 0)
