# SPDX-License-Identifier: Apache-2.0
"""What became of each input of a node."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

_REPEAT_NS = 10 * 10**9
_MAX_KINDS = 200
_MAX_LIKE = 5
# nan and inf stay: they are kinds of faults.
_NUMBERS = re.compile(r'[-+]?[0-9][0-9.]*(e[-+]?[0-9]+)?')


class Tally:
    """Counts inputs by what became of them, and says each problem once.

    Attributes:
        received: messages that arrived.
        published: of these, those that led to an output.
        skipped: nobody had subscribed to the result.
        rejected: the message was wrong.
        points_dropped: points that were not finite.
        paths: features by how they were computed, sparse or dense.
    """

    def __init__(self, logger: Any, now_ns: Callable[[], int]) -> None:
        self.received = self.published = self.skipped = self.rejected = 0
        self.points_dropped = 0
        self.paths: Counter[str] = Counter()
        self._logger = logger
        self._now_ns = now_ns
        self._told: dict[str, tuple[int, set[str]]] = {}

    def reject(self, topic: str, error: Exception) -> None:
        """Counts a wrong message and logs why, a reason once in 10 s.

        The same fault at ever other places, or with other values, is told a few times.
        """
        self.rejected += 1
        reason, now = str(error), self._now_ns()
        kind = _NUMBERS.sub('#', reason)
        since, told = self._told.get(kind, (now - _REPEAT_NS, set()))
        if now - since >= _REPEAT_NS:
            since, told = now, set()
        if reason in told or len(told) >= _MAX_LIKE:
            return
        told.add(reason)
        if len(self._told) >= _MAX_KINDS:
            self._told.clear()
        self._told[kind] = since, told
        self._logger.error(f'{topic} rejected ({self.rejected} so far): {reason}')

    def computed(self, path: str) -> None:
        """Counts by which path of the engine features were computed."""
        self.paths[path] += 1

    def drop_points(self, count: int) -> None:
        """Counts points that were left out of a cloud, and tells of the first ones."""
        if count and not self.points_dropped:
            self._logger.warning(f'left out {count} points that are not finite')
        self.points_dropped += count

    def __str__(self) -> str:
        paths = ''.join(f', {count} {path}' for path, count in sorted(self.paths.items()))
        return (
            f'received {self.received}, published {self.published}, '
            f'skipped {self.skipped}, rejected {self.rejected}; '
            f'{self.points_dropped} points were not finite{paths}'
        )
