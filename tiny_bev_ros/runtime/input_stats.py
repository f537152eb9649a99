# SPDX-License-Identifier: Apache-2.0
"""What became of each input of a node."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from threading import Lock
from typing import Any

from tiny_bev_ros.runtime.point_stats import PointStats

_REPEAT_NS = 10 * 10**9
_MAX_KINDS = 200
_MAX_LIKE = 5
# nan and inf stay: they are kinds of faults.
_NUMBERS = re.compile(r'[-+]?[0-9][0-9.]*(e[-+]?[0-9]+)?')

# Why an input led to no output.
CAUSES = {
    'unwanted': 'nobody had subscribed to the result',
    'rejected': 'the message was wrong',
    'replaced': 'a newer one came before it was worked on',
    'stale': 'its stamp was older than max_age_ms',
    'future': 'its stamp was further ahead than max_age_ms',
    'failed': 'an error of the node itself',
    'stopped': 'the node was deactivated before it was worked on',
}


class InputStats:
    """Counts inputs by what became of them, and says each problem once.

    It may be used from several threads.

    Attributes:
        received: messages that arrived.
        published: of these, those that led to an output.
        dropped: those that did not, by cause; the keys are CAUSES.
        backwards: those with an earlier stamp than the one before.
        rounds: of these, those with which a bag or a simulation began again.
        points: of clouds.
        paths: features by how they were computed, sparse or dense.
    """

    def __init__(self, logger: Any, now_ns: Callable[[], int]) -> None:
        self.received = self.published = self.backwards = self.rounds = 0
        self.points = PointStats(logger, now_ns)
        self.dropped: Counter[str] = Counter(dict.fromkeys(CAUSES, 0))
        self.paths: Counter[str] = Counter()
        self._logger = logger
        self._now_ns = now_ns
        self._told: dict[str, tuple[int, set[str]]] = {}
        self._lock = Lock()

    @property
    def pending(self) -> int:
        """Inputs that wait or are worked on."""
        with self._lock:
            return self.received - self.published - self.dropped.total()

    def receive(self) -> None:
        """Counts an input."""
        with self._lock:
            self.received += 1

    def publish(self) -> None:
        """Counts an input that led to an output."""
        with self._lock:
            self.published += 1

    def drop(self, cause: str) -> None:
        """Counts an input that did not; says nothing."""
        with self._lock:
            self.dropped[cause] += 1

    def reject(self, topic: str, error: Exception) -> None:
        """Counts a wrong message and logs why, a reason once in 10 s.

        The same fault at ever other places, or with other values, is told a few times.
        """
        self.drop('rejected')
        if self._is_news(str(error)):
            count = self.dropped['rejected']
            self._logger.error(f'{topic} rejected ({count} so far): {error}')

    def miss(self, topic: str, cause: str, reason: str) -> None:
        """Counts an input that came at the wrong time, and logs it as `reject` does."""
        self.drop(cause)
        if self._is_news(reason):
            count = self.dropped[cause]
            self._logger.warning(f'{topic} dropped as {cause} ({count} so far): {reason}')

    def fail(self, topic: str, trace: str) -> None:
        """Counts an input over which the node failed, and logs the trace as `reject` does."""
        self.drop('failed')
        if self._is_news(trace):
            count = self.dropped['failed']
            self._logger.error(f'{topic} could not be worked on ({count} so far): {trace}')

    def go_back(self, reason: str) -> None:
        """Counts a stamp that is earlier than the one before, and logs it as `reject` does."""
        with self._lock:
            self.backwards += 1
        if self._is_news(reason):
            self._logger.warning(f'{reason} ({self.backwards} so far)')

    def begin_again(self, reason: str) -> None:
        """Counts a stamp that went back to the beginning, and tells of the first one only."""
        with self._lock:
            self.backwards += 1
            self.rounds += 1
        if self.rounds == 1:
            self._logger.info(reason)

    def computed(self, path: str) -> None:
        """Counts by which path of the engine features were computed."""
        self.paths[path] += 1

    def _is_news(self, reason: str) -> bool:
        now = self._now_ns()
        kind = _NUMBERS.sub('#', reason)
        with self._lock:
            since, told = self._told.get(kind, (now - _REPEAT_NS, set()))
            if now - since >= _REPEAT_NS:
                since, told = now, set()
            if reason in told or len(told) >= _MAX_LIKE:
                return False
            told.add(reason)
            if len(self._told) >= _MAX_KINDS:
                self._told.clear()
            self._told[kind] = since, told
            return True

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
