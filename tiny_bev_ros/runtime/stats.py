# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Statistics of inputs: counts by outcome, and processing times by stage."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np

from tiny_bev_ros.runtime.log_throttle import ReasonThrottle
from tiny_bev_ros.runtime.point_stats import PointStats

# Causes for which an input led to no output.
CAUSES = {
    'no_subscribers': 'no output had a subscriber',
    'rejected': 'the message was invalid',
    'replaced': 'a newer message arrived before processing began',
    'stale': 'its stamp was older than max_age_ms',
    'future': 'its stamp was further ahead than max_age_ms',
    'failed': 'an internal error of the node',
    'stopped': 'the node was deactivated before processing began',
}
# Causes for which a message of a camera was used by no frame.
CAMERA_CAUSES = {
    'no_subscribers': 'no output had a subscriber',
    'rejected': 'the message was invalid',
    'failed': 'an internal error of the node',
    'late': 'it arrived after the frame of its stamp was processed',
    'no_extrinsics': 'the extrinsics of the camera were unknown',
    'not_visible': 'no grid cell was visible in it',
    'unmatched': 'no frame matched its stamp before newer messages replaced it',
    'stopped': 'the node was deactivated before a frame used it',
}


class InputStats:
    """Counts inputs by outcome, and logs each problem once in 10 s.

    Thread-safe.

    Args:
        logger: logger of the node.
        now_ns: monotonic clock in ns.

    Attributes:
        received: number of messages that arrived.
        published: number of these that led to an output.
        dropped: number of these that did not, by cause; the keys are CAUSES.
        time_jumps: number of inputs with an earlier stamp than the one before.
        restarts: number of these at which a bag or a simulation started over.
        points: counts of points, for clouds.
        paths: number of frames by inference path: sparse, dense, or the runtime of an exported
            network.
    """

    def __init__(self, logger: Any, now_ns: Callable[[], int]) -> None:
        self.received = self.published = self.time_jumps = self.restarts = 0
        self.points = PointStats(logger, now_ns)
        self.dropped: Counter[str] = Counter(dict.fromkeys(CAUSES, 0))
        self.paths: Counter[str] = Counter()
        self._logger = logger
        self._throttle = ReasonThrottle(now_ns)
        self._lock = Lock()

    @property
    def pending(self) -> int:
        """Number of inputs that wait or are processed."""
        with self._lock:
            return self.received - self.published - self.dropped.total()

    def count_received(self) -> None:
        """Counts an input."""
        with self._lock:
            self.received += 1

    def count_published(self) -> None:
        """Counts an input that led to an output."""
        with self._lock:
            self.published += 1

    def count_dropped(self, cause: str) -> None:
        """Counts an input that led to no output; logs nothing."""
        with self._lock:
            self.dropped[cause] += 1

    def count_rejected(self, topic: str, error: Exception) -> None:
        """Counts an invalid message, and logs each reason once in 10 s.

        Reasons that differ in numbers only are logged a few times.
        """
        self.count_dropped('rejected')
        if self._should_log(str(error)):
            count = self.dropped['rejected']
            self._logger.error(f'{topic} rejected ({count} so far): {error}')

    def count_mistimed(self, topic: str, cause: str, reason: str) -> None:
        """Counts a stale or future input, and logs it like `count_rejected`."""
        self.count_dropped(cause)
        if self._should_log(reason):
            count = self.dropped[cause]
            self._logger.warning(f'{topic} dropped as {cause} ({count} so far): {reason}')

    def count_failed(self, topic: str, trace: str) -> None:
        """Counts an input at which the node failed, and logs the trace like `count_rejected`."""
        self.count_dropped('failed')
        if self._should_log(trace):
            count = self.dropped['failed']
            self._logger.error(f'{topic} failed in processing ({count} so far): {trace}')

    def count_time_jump(self, reason: str) -> None:
        """Counts a stamp earlier than the one before, and logs it like `count_rejected`."""
        with self._lock:
            self.time_jumps += 1
        if self._should_log(reason):
            self._logger.warning(f'{reason} ({self.time_jumps} so far)')

    def count_restart(self, reason: str) -> None:
        """Counts a stamp that jumped back to the beginning; logs only the first."""
        with self._lock:
            self.time_jumps += 1
            self.restarts += 1
        if self.restarts == 1:
            self._logger.info(reason)

    def count_path(self, path: str) -> None:
        """Counts a frame by its path: sparse, dense, or the runtime of an exported network."""
        self.paths[path] += 1

    def _should_log(self, reason: str) -> bool:
        return self._throttle.should_log(reason)

    def _dropped_text(self) -> str:
        causes = ', '.join(f'{count} {cause}' for cause, count in self.dropped.items() if count)
        return f'{self.dropped.total()} ({causes})' if causes else '0'

    def __str__(self) -> str:
        paths = ''.join(f', {count} {path}' for path, count in sorted(self.paths.items()))
        return (
            f'received {self.received}, published {self.published}, '
            f'dropped {self._dropped_text()}; '
            f'{self.points.dropped} points were not finite{paths}'
        )


class CameraStats(InputStats):
    """Counts the messages of a camera by outcome, and the frames without one.

    Args:
        camera: name of the camera, for the log.
        logger: logger of the node.
        now_ns: monotonic clock in ns.

    Attributes:
        published: number of messages that were used, each counted once.
        missing: number of frames that were processed without this camera.
        dropped: number of messages that were not used, by cause; the keys are CAMERA_CAUSES.
    """

    def __init__(self, camera: str, logger: Any, now_ns: Callable[[], int]) -> None:
        super().__init__(logger, now_ns)
        self.missing = 0
        self.dropped: Counter[str] = Counter(dict.fromkeys(CAMERA_CAUSES, 0))
        self._camera = camera

    def count_missing(self, reason: str) -> None:
        """Counts a frame without this camera, and logs the reason like `count_rejected`."""
        with self._lock:
            self.missing += 1
        if self._should_log(reason):
            self._logger.warning(f'{self._camera} missing ({self.missing} so far): {reason}')

    def __str__(self) -> str:
        return (
            f'received {self.received}, used {self.published}, '
            f'dropped {self._dropped_text()}; missing in {self.missing} frames'
        )


class FrameTimes:
    """Processing times of one input.

    Args:
        received_ns: time of its arrival, by the monotonic clock.
        now_ns: monotonic clock in ns.

    Attributes:
        stages_ms: duration of each stage by name; 'wait' is the time from arrival to the start
            of processing. Stages on a device are present after `synchronize`.
    """

    def __init__(self, received_ns: int, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._now_ns = now_ns
        self._received_ns, self._begin_ns = received_ns, now_ns()
        self.stages_ms = {'wait': (self._begin_ns - received_ns) / 1e6}
        self._on_device: list[tuple[str, Any, Any]] = []

    @contextmanager
    def stage(self, name: str, timestamp: Callable[[], Any] = lambda: None) -> Iterator[None]:
        """Context manager: times one processing stage; times of repeated names add up.

        Args:
            name: name of the stage.
            timestamp: records a timestamp, with `wait` and `ms_until`, on a device that works
                asynchronously; returns None where the clock of the host is enough.
        """
        begin_ns, begin, end = self._now_ns(), timestamp(), None
        try:
            yield
            end = timestamp()
        finally:
            if begin is None or end is None:
                self._add(name, (self._now_ns() - begin_ns) / 1e6)
            else:
                self._on_device.append((name, begin, end))

    def synchronize(self) -> None:
        """Waits for the device and adds the times of its stages."""
        if self._on_device:
            self._on_device[-1][2].wait()
        for name, begin, end in self._on_device:
            self._add(name, begin.ms_until(end))
        self._on_device.clear()

    def _add(self, name: str, spent_ms: float) -> None:
        self.stages_ms[name] = self.stages_ms.get(name, 0.0) + spent_ms

    def processing_ms(self) -> float:
        """Returns the time since the start of processing."""
        return (self._now_ns() - self._begin_ns) / 1e6

    def latency_ms(self) -> float:
        """Returns the time since arrival."""
        return (self._now_ns() - self._received_ns) / 1e6


class Percentiles:
    """Percentiles of the latest values.

    Args:
        size: number of values kept.
    """

    def __init__(self, size: int = 600) -> None:
        self._values: deque[float] = deque(maxlen=size)

    def add(self, value: float) -> None:
        """Adds a value, which replaces the oldest one when full."""
        self._values.append(value)

    def clear(self) -> None:
        """Removes all values."""
        self._values.clear()

    def at(self, *percents: float) -> list[float]:
        """Returns the given percentiles; NaN while there is no value."""
        values = list(self._values)  # a copy: another thread may add a value meanwhile
        if not values:
            return [float('nan')] * len(percents)
        return [float(value) for value in np.percentile(values, percents)]
