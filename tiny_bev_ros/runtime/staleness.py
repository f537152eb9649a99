# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Staleness of inputs, by their stamps and the clock of the node."""

from __future__ import annotations

from collections.abc import Callable

from tiny_bev_ros.messages.message_fields import Stamp
from tiny_bev_ros.runtime.stamp_order import StampJump, StampOrder
from tiny_bev_ros.runtime.stats import InputStats

NO_CLOCK = 'use_sim_time is true, but nothing was received on /clock'


class StaleInputError(Exception):
    """The stamp of an input is too old, too far ahead or of unknown age.

    Attributes:
        cause: 'stale' or 'future'.
    """

    def __init__(self, cause: str, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause


class StalenessCheck:
    """Compares stamps with the clock of a node, which may be simulated, stand still or jump back.

    Args:
        now_ns: clock of the node in ns; 0 is a simulated clock that has not begun.
        stats: counts stamps that jump back.

    Attributes:
        max_age_ms: largest age, and largest distance ahead, of a valid stamp; 0 for no limit.
        unknown_age_reason: reason why the last age is unknown, or ''.
    """

    def __init__(self, now_ns: Callable[[], int], stats: InputStats) -> None:
        self.max_age_ms = 0.0
        self.unknown_age_reason = ''
        self._now_ns, self._stats = now_ns, stats
        self._order = StampOrder()

    @property
    def clock_is_missing(self) -> bool:
        """True while a simulated clock has not begun."""
        return self._now_ns() == 0

    def check_input(self, stamp: Stamp) -> None:
        """Checks the stamp of an input before it is processed, and counts jumps back.

        Args:
            stamp: (sec, nanosec).

        Raises:
            StaleInputError: the conditions of `check`.
        """
        jump = self._order.add(to_nanoseconds(stamp))
        if jump is not None:
            self._count_jump(jump)
        self.check(stamp)

    def check(self, stamp: Stamp) -> None:
        """Checks the stamp again before the output is published.

        Args:
            stamp: (sec, nanosec).

        Raises:
            StaleInputError: it is older, or further ahead, than max_age_ms, or its age is
                unknown.
        """
        if not self.max_age_ms:
            return
        age_ms = self.age_ms(stamp)
        if age_ms is None:
            # max_age_ms demands a known age.
            cause = 'stale' if to_nanoseconds(stamp) == 0 else 'future'
            raise StaleInputError(
                cause,
                f'age is unknown: {self.unknown_age_reason}; '
                f'expected at most {self.max_age_ms:g} ms',
            )
        if age_ms > self.max_age_ms:
            raise StaleInputError(
                'stale', f'stamp is {age_ms:.0f} ms old; expected at most {self.max_age_ms:g} ms'
            )
        if age_ms < -self.max_age_ms:
            raise StaleInputError(
                'future',
                f'stamp is {-age_ms:.0f} ms ahead; expected at most {self.max_age_ms:g} ms',
            )

    def age_ms(self, stamp: Stamp) -> float | None:
        """Returns the age of a stamp by the clock of the node; negative for one ahead.

        Returns None where it is unknown, and sets `unknown_age_reason`.
        """
        now_ns, stamp_ns = self._now_ns(), to_nanoseconds(stamp)
        if now_ns == 0:
            self.unknown_age_reason = NO_CLOCK
        elif stamp_ns == 0:
            self.unknown_age_reason = 'the stamp of the input is not set'
        else:
            self.unknown_age_reason = ''
            return (now_ns - stamp_ns) / 1e6
        return None

    def _count_jump(self, jump: StampJump) -> None:
        back_s = jump.back_ns / 1e9
        if jump.is_restart:
            self._stats.count_restart(
                f'stamp jumped back by {back_s:.3f} s to the first one: a bag or a simulation '
                'started over; further restarts are counted in diagnostics only'
            )
        else:
            self._stats.count_time_jump(
                f'stamp jumped back by {back_s:.3f} s: inputs arrive out of order, there are two '
                'publishers, or a clock was set'
            )


def to_nanoseconds(stamp: Stamp) -> int:
    """Returns a stamp in ns."""
    return stamp[0] * 10**9 + stamp[1]
