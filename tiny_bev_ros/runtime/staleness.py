# SPDX-License-Identifier: Apache-2.0
"""Whether an input is of now, by its own stamp."""

from __future__ import annotations

from collections.abc import Callable

from tiny_bev_ros.runtime.input_stats import InputStats

Stamp = tuple[int, int]
NO_CLOCK = 'use_sim_time is set, but nothing has come on /clock'
# The next round of a bag may begin so far behind its first stamp.
_MISSED_NS = 5 * 10**9


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
        now_ns: that clock; 0 is a simulated one that has not begun.
        tally: hears of stamps that go back.

    Attributes:
        max_age_ms: what is older, or further ahead, is not fresh; 0 for no limit.
        ageless: '' or why the age that was asked for last is unknown.
    """

    def __init__(self, now_ns: Callable[[], int], tally: InputStats) -> None:
        self.max_age_ms = 0.0
        self.ageless = ''
        self._now_ns, self._tally = now_ns, tally
        self._last_ns: int | None = None
        # Where recordings begin: at the lowest stamp, and at the last one after a leap ahead.
        self._lowest_ns = self._leapt_ns = 0

    @property
    def clock_is_missing(self) -> bool:
        """True where the clock is a simulated one that has not begun."""
        return self._now_ns() == 0

    def begin(self, stamp: Stamp) -> None:
        """Looks at the stamp of an input before it is worked on.

        Raises:
            NotFreshError: as `check`.
        """
        stamp_ns = nanoseconds(stamp)
        if self._last_ns is None:
            self._lowest_ns = self._leapt_ns = stamp_ns
        elif stamp_ns < self._last_ns:
            self._go_back(stamp_ns, self._last_ns)
        elif stamp_ns > self._last_ns + _MISSED_NS:
            self._leapt_ns = stamp_ns
        self._last_ns = stamp_ns
        self.check(stamp)

    def check(self, stamp: Stamp) -> None:
        """Looks at the stamp again before its output is published.

        Raises:
            NotFreshError: it is older, or further ahead, than max_age_ms, or its age is unknown.
        """
        if not self.max_age_ms:
            return
        age_ms = self.age_ms(stamp)
        if age_ms is None:
            # Neither is known to be fresh, as max_age_ms demands.
            cause = 'stale' if nanoseconds(stamp) == 0 else 'future'
            raise NotFreshError(
                cause, f'its age is unknown: {self.ageless}; expected at most {self.max_age_ms:g}'
            )
        if age_ms > self.max_age_ms:
            raise NotFreshError(
                'stale', f'stamp is {age_ms:.0f} ms old; expected at most {self.max_age_ms:g}'
            )
        if age_ms < -self.max_age_ms:
            raise NotFreshError(
                'future',
                f'stamp is {-age_ms:.0f} ms ahead; expected at most {self.max_age_ms:g}',
            )

    def age_ms(self, stamp: Stamp) -> float | None:
        """Time since the stamp, by the clock of the node; negative for one ahead.

        None where it is unknown; `ageless` then says why.
        """
        now_ns, stamp_ns = self._now_ns(), nanoseconds(stamp)
        if now_ns == 0:
            self.ageless = NO_CLOCK
        elif stamp_ns == 0:
            self.ageless = 'the stamp of the input is not set'
        else:
            self.ageless = ''
            return (now_ns - stamp_ns) / 1e6
        return None

    def _go_back(self, stamp_ns: int, last_ns: int) -> None:
        back_s = (last_ns - stamp_ns) / 1e9
        if stamp_ns <= self._lowest_ns or any(
            # The first inputs of a new round may be missed: a slow node takes only some.
            begin <= stamp_ns <= begin + min(_MISSED_NS, (last_ns - begin) // 2)
            for begin in (self._lowest_ns, self._leapt_ns)
        ):
            self._lowest_ns = min(self._lowest_ns, stamp_ns)
            self._tally.begin_again(
                f'stamps went back by {back_s:.3f} s to their beginning: a bag or a simulation '
                'began again; of further rounds only diagnostics tell'
            )
        else:
            self._tally.go_back(
                f'the stamp went back by {back_s:.3f} s: inputs come out of order, there are two '
                'publishers, or a clock was set'
            )


def nanoseconds(stamp: Stamp) -> int:
    """Of (sec, nanosec)."""
    return stamp[0] * 10**9 + stamp[1]
