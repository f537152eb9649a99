# SPDX-License-Identifier: Apache-2.0
"""What became of each input of a node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_REPEAT_NS = 10 * 10**9
_MAX_REASONS = 1000


class Tally:
    """Counts inputs by what became of them, and says each problem once.

    Attributes:
        received: messages that arrived.
        published: of these, those that led to an output.
        skipped: nobody had subscribed to the result.
        rejected: the message was wrong.
        points_dropped: points that were not finite.
    """

    def __init__(self, logger: Any, now_ns: Callable[[], int]) -> None:
        self.received = self.published = self.skipped = self.rejected = 0
        self.points_dropped = 0
        self._logger = logger
        self._now_ns = now_ns
        self._said: dict[str, int] = {}

    def reject(self, topic: str, error: Exception) -> None:
        """Counts a wrong message and logs why; a repeated reason only every 10 s."""
        self.rejected += 1
        reason, now = str(error), self._now_ns()
        if now - self._said.get(reason, -_REPEAT_NS) < _REPEAT_NS:
            return
        if len(self._said) >= _MAX_REASONS:
            self._said.clear()
        self._said[reason] = now
        self._logger.error(f'{topic} rejected ({self.rejected} so far): {reason}')

    def drop_points(self, count: int) -> None:
        """Counts points that were left out of a cloud, and tells of the first ones."""
        if count and not self.points_dropped:
            self._logger.warning(f'left out {count} points that are not finite')
        self.points_dropped += count

    def __str__(self) -> str:
        return (
            f'received {self.received}, published {self.published}, '
            f'skipped {self.skipped}, rejected {self.rejected}; '
            f'{self.points_dropped} points were not finite'
        )
