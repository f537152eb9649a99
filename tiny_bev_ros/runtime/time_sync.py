# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Approximate time synchronization of frames with the messages of cameras."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Condition
from typing import Generic, TypeVar

from tiny_bev_ros.runtime.stats import CameraStats

Item = TypeVar('Item')

# Messages kept per camera: a third of a second at 30 Hz, longer than it takes to compute the
# features of points.
_QUEUE_SIZE = 10
# A larger jump back of frame stamps means that a bag started over.
_RESTART_NS = 10**9


@dataclass
class QueuedMessage(Generic[Item]):
    """A message of a camera that is kept for frames.

    Attributes:
        stamp_ns: its stamp in ns.
        item: its content.
        late: True if it arrived after the frame of its stamp.
        matched: True if a frame matched it; the frame then reports its outcome.
        counted: True if its outcome was counted.
    """

    stamp_ns: int
    item: Item
    late: bool
    matched: bool = False
    counted: bool = False


class ApproximateTimeSync(Generic[Item]):
    """Matches each frame with the message of each camera whose stamp is nearest.

    Callers of `match` report the outcome of each matched message with `report_outcome`.

    A frame waits for a camera only as long as the next message may match it. After a timeout, a
    camera is not awaited again until it sends a message, so that an unplugged camera costs one
    wait. Cameras may be faster or slower than frames; one message may serve several frames.

    Thread-safe for messages; frames must come from one thread.

    Args:
        stats: counts by camera. They count the outcome of messages, which were counted as
            received before, and frames without the camera.
    """

    def __init__(self, stats: Mapping[str, CameraStats]) -> None:
        self._stats = stats
        self._queues: dict[str, deque[QueuedMessage[Item]]] = {name: deque() for name in stats}
        self._silent: set[str] = set()
        self._last_ns: int | None = None
        self._stopped = False
        self._changed = Condition()

    def add(self, camera: str, stamp_ns: int, item: Item) -> None:
        """Queues a message for the frames of its time."""
        with self._changed:
            if self._stopped:
                self._stats[camera].count_dropped('stopped')
                return
            queue = self._queues[camera]
            if queue and stamp_ns < queue[-1].stamp_ns:
                # A bag started over: queued messages are of its end.
                self._drop_oldest(camera, len(queue))
            elif len(queue) == _QUEUE_SIZE:
                self._drop_oldest(camera, 1)
            late = self._last_ns is not None and stamp_ns <= self._last_ns
            queue.append(QueuedMessage(stamp_ns, item, late))
            self._silent.discard(camera)
            self._changed.notify()

    def match(
        self, stamp_ns: int, slop_ns: int, timeout_s: float
    ) -> dict[str, QueuedMessage[Item] | None]:
        """Returns the message of each camera that matches a frame; None for one that is missing.

        Args:
            stamp_ns: stamp of the frame.
            slop_ns: largest difference of stamps.
            timeout_s: longest wait for cameras without a message of this time or later.
        """
        with self._changed:
            if self._last_ns is not None and stamp_ns < self._last_ns - _RESTART_NS:
                self._drop_before_restart((stamp_ns + self._last_ns) // 2)
            self._changed.wait_for(
                lambda: self._stopped or not self._awaited(stamp_ns - slop_ns), timeout_s
            )
            self._silent |= self._awaited(stamp_ns - slop_ns)
            self._last_ns = stamp_ns
            return {name: self._nearest(name, stamp_ns, slop_ns) for name in self._queues}

    def report_outcome(self, camera: str, message: QueuedMessage[Item], cause: str = '') -> None:
        """Counts a matched message as used, or as dropped for a cause.

        It is counted once, however many frames match it; a dropped one matches no other frame.
        """
        with self._changed:
            if cause:
                queue = self._queues[camera]
                self._queues[camera] = deque(each for each in queue if each is not message)
            if message.counted:
                return
            message.counted = True
            if cause:
                self._stats[camera].count_dropped(cause)
            else:
                self._stats[camera].count_published()

    def stop(self) -> None:
        """Ends a wait, and drops all queued and future messages."""
        with self._changed:
            self._stopped = True
            for camera, queue in self._queues.items():
                for message in queue:
                    if not message.matched:
                        self._stats[camera].count_dropped('stopped')
                queue.clear()
            self._changed.notify_all()

    def _drop_before_restart(self, middle_ns: int) -> None:
        """Drops messages of the end of a bag, so that those of its beginning are awaited."""
        for camera, queue in self._queues.items():
            if queue and queue[0].stamp_ns > middle_ns:
                self._drop_oldest(camera, len(queue))

    def _awaited(self, since_ns: int) -> set[str]:
        """Returns the cameras whose next message may be the first since a time."""
        return {
            name
            for name, queue in self._queues.items()
            if name not in self._silent and not (queue and queue[-1].stamp_ns >= since_ns)
        }

    def _nearest(self, camera: str, stamp_ns: int, slop_ns: int) -> QueuedMessage[Item] | None:
        queue, stats = self._queues[camera], self._stats[camera]
        nearest = min(queue, key=lambda message: abs(message.stamp_ns - stamp_ns), default=None)
        # Later frames match no older messages.
        self._drop_oldest(camera, sum(each.stamp_ns < stamp_ns - slop_ns for each in queue))
        if nearest is None:
            stats.count_missing('no message since the previous frame')
            return None
        difference_ns = nearest.stamp_ns - stamp_ns
        if abs(difference_ns) > slop_ns:
            stats.count_missing(
                f'nearest stamp is {difference_ns / 1e6:+.1f} ms from that of the frame; '
                f'expected at most {slop_ns / 1e6:g} ms'
            )
            return None
        nearest.matched = True
        return nearest

    def _drop_oldest(self, camera: str, count: int) -> None:
        for _ in range(count):
            message = self._queues[camera].popleft()
            if not message.matched:
                self._stats[camera].count_dropped('late' if message.late else 'unmatched')
