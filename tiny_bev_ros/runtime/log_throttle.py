# SPDX-License-Identifier: Apache-2.0
"""When to tell of something that lasts: as it begins, and not with every message."""

from __future__ import annotations

from collections.abc import Callable

_APART_NS = 10 * 10**9


class LogThrottle:
    """Tells when a condition is to be logged: each time that it begins anew.

    Args:
        now_ns: of a monotonic clock. Between two lines are 10 s at least.
        again: tell of it every 10 s for as long as it lasts.
    """

    def __init__(self, now_ns: Callable[[], int], *, again: bool = False) -> None:
        self._now_ns, self._again = now_ns, again
        self._told_ns: int | None = None
        self._told_this_time = False

    def is_due(self, holds: bool) -> bool:
        """True if it is to be logged now; asked for each message."""
        if not holds:
            self._told_this_time = False
            return False
        if self._told_this_time and not self._again:
            return False
        now = self._now_ns()
        if self._told_ns is not None and now - self._told_ns < _APART_NS:
            return False
        self._told_ns, self._told_this_time = now, True
        return True
