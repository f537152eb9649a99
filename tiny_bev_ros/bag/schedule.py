# SPDX-License-Identifier: Apache-2.0
"""What is played, under which name and when: the part of bag_player that needs no ROS."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping

from tiny_bev_ros.bag.reader import BagTopic, absolute_name
from tiny_bev_ros.errors import TinyBevError

# What recorders write in another order than it came: they have several queues.
_OUT_OF_ORDER_NS = 10**9
# In bags of sensors nothing is silent for so long but a clock that was set.
LONGEST_GAP_S = 60.0


def select(topics: Mapping[str, BagTopic], wanted: Iterable[str] = ()) -> list[BagTopic]:
    """The wanted topics of a bag, or all when none is named.

    Raises:
        TinyBevError: one of them is not in the bag.
    """
    names = [absolute_name(name) for name in wanted] or list(topics)
    for name in names:
        if name not in topics:
            raise TinyBevError(f'topic is {name}; expected one of {", ".join(topics)}')
    return [topics[name] for name in dict.fromkeys(names)]


def parse_remap(rules: Iterable[str], topics: Iterable[BagTopic]) -> dict[str, str]:
    """Rules FROM:=TO as a map of recorded name to the name to publish on.

    TO stays as given: a name without a leading slash follows the player's namespace.

    Raises:
        TinyBevError: a rule has another form, or FROM is not played or comes twice.
    """
    names = [topic.name for topic in topics]
    remap: dict[str, str] = {}
    for rule in rules:
        source, separator, target = rule.partition(':=')
        if not (source and separator and target):
            raise TinyBevError(f'remap is {rule}; expected FROM:=TO')
        source = absolute_name(source)
        if source not in names:
            raise TinyBevError(
                f'remap is {rule}; {source} is not played, expected one of {", ".join(names)}'
            )
        if source in remap:
            raise TinyBevError(f'remap is {rule}; {source} already goes to {remap[source]}')
        remap[source] = target
    return remap


class Schedule:
    """Maps recorded time to the monotonic clock.

    All is measured from one start, so that errors of single waits do not add up. Times that leap
    ahead by more than a limit, or go back, begin anew, as nothing was recorded in between.

    Args:
        rate: recorded seconds per second.
        now: the monotonic clock, in seconds.
        longest_gap_s: recorded seconds without a message that are still waited for.

    Attributes:
        recorded_ns: recorded time since the first message, without what was skipped.
        skipped: how often time was skipped.
    """

    def __init__(
        self,
        rate: float,
        now: Callable[[], float] = time.monotonic,
        longest_gap_s: float = math.inf,
    ) -> None:
        self.rate = rate
        self._now = now
        self._longest_gap_s = longest_gap_s
        self.restart()

    def restart(self) -> None:
        """Forgets the messages so far, as before another round of a bag."""
        self.recorded_ns = self.skipped = 0
        self._last_ns: int | None = None
        self.begin(0)

    def begin(self, time_ns: int) -> None:
        """Makes this recorded time the present one."""
        self._start, self._start_ns = self._now(), time_ns

    def follow(self, time_ns: int) -> str:
        """Takes up the time of the next message; returns '' or what is skipped before it."""
        last_ns, self._last_ns = self._last_ns, time_ns
        if last_ns is None:
            self.begin(time_ns)
            return ''
        step_ns = time_ns - last_ns
        if -_OUT_OF_ORDER_NS <= step_ns <= self._longest_gap_s * 1e9:
            self.recorded_ns += step_ns
            return ''
        self.begin(time_ns)
        self.skipped += 1
        where = f'from {last_ns / 1e9:.3f} s to {time_ns / 1e9:.3f} s'
        if step_ns < 0:
            return f'the recorded time goes back by {-step_ns / 1e9:.1f} s, {where}'
        return (
            f'the recording has no message for {step_ns / 1e9:.1f} s, {where}; that is skipped, '
            f'as it is more than {self._longest_gap_s:g} s'
        )

    def seconds_until(self, time_ns: int) -> float:
        """Seconds to wait for a recorded time; negative when it has passed."""
        return self._start + (time_ns - self._start_ns) / 1e9 / self.rate - self._now()

    def time_ns(self) -> int:
        """The recorded time of this moment."""
        return self._start_ns + int((self._now() - self._start) * self.rate * 1e9)


class Pulse:
    """Says when to do something at a fixed frequency; missed times are skipped.

    Args:
        frequency: in Hz.
        now: the monotonic clock, in seconds.
    """

    def __init__(self, frequency: float, now: Callable[[], float] = time.monotonic) -> None:
        self._period = 1 / frequency
        self._now = now
        self._start = now()
        self._count = 0

    def due(self) -> bool:
        """Whether the time has come; True once for each time."""
        if self.seconds_left() > 0:
            return False
        self._count = int((self._now() - self._start) / self._period) + 1
        return True

    def seconds_left(self) -> float:
        """Seconds to the next time; negative when it is late."""
        return self._start + self._count * self._period - self._now()
