# SPDX-License-Identifier: Apache-2.0
"""Whether an input is of now, by its own stamp."""

from __future__ import annotations

from collections.abc import Callable

from tiny_bev_ros.transport.tally import Tally

Stamp = tuple[int, int]


class NotFreshError(Exception):
    """An input came at the wrong time.

    Attributes:
        cause: 'stale' or 'future'.
    """

    def __init__(self, cause: str, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause


class Freshness:
    """Compares stamps with the clock of a node, which may be simulated, stand or jump back.

    Args:
        now_ns: that clock.
        tally: hears of stamps that go back, as when a bag begins again.

    Attributes:
        max_age_ms: what is older, or further ahead, is not fresh; 0 for no limit.
    """

    def __init__(self, now_ns: Callable[[], int], tally: Tally) -> None:
        self.max_age_ms = 0.0
        self._now_ns, self._tally = now_ns, tally
        self._last_ns: int | None = None

    def begin(self, stamp: Stamp) -> None:
        """Looks at the stamp of an input before it is worked on.

        Raises:
            NotFreshError: as `check`.
        """
        stamp_ns = nanoseconds(stamp)
        if self._last_ns is not None and stamp_ns < self._last_ns:
            self._tally.go_back(
                f'the stamp went back by {(self._last_ns - stamp_ns) / 1e9:.3f} s: '
                'a bag began again, or there are two publishers'
            )
        self._last_ns = stamp_ns
        self.check(stamp)

    def check(self, stamp: Stamp) -> None:
        """Looks at the stamp again before its output is published.

        Raises:
            NotFreshError: it is older, or further ahead, than max_age_ms.
        """
        if not self.max_age_ms:
            return
        age_ms = self.age_ms(stamp)
        if age_ms > self.max_age_ms:
            raise NotFreshError(
                'stale', f'stamp is {age_ms:.0f} ms old; expected at most {self.max_age_ms:g}'
            )
        if age_ms < -self.max_age_ms:
            raise NotFreshError(
                'future',
                f'stamp is {-age_ms:.0f} ms ahead; expected at most {self.max_age_ms:g}',
            )

    def age_ms(self, stamp: Stamp) -> float:
        """Time since the stamp, by the clock of the node; negative for one ahead."""
        return (self._now_ns() - nanoseconds(stamp)) / 1e6


def nanoseconds(stamp: Stamp) -> int:
    """Of (sec, nanosec)."""
    return stamp[0] * 10**9 + stamp[1]
