# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Schedule of bag_player: selected topics, remapped names and due times, without ROS."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping

from tiny_bev_ros.bag.recorded_topics import BagTopic, absolute_name
from tiny_bev_ros.errors import TinyBevError

# Recorders have several queues, so messages may be out of order by this much.
_OUT_OF_ORDER_NS = 10**9
# Sensors are never silent for so long: a longer gap means that a clock was set.
LONGEST_GAP_S = 60.0


def select(topics: Mapping[str, BagTopic], names: Iterable[str] = ()) -> list[BagTopic]:
    """Returns the named topics of a bag; all of them without a name.

    Raises:
        TinyBevError: a named topic is not in the bag.
    """
    selected = [absolute_name(name) for name in names] or list(topics)
    for name in selected:
        if name not in topics:
            raise TinyBevError(f'topic is {name}; expected one of {", ".join(topics)}')
    return [topics[name] for name in dict.fromkeys(selected)]


def parse_remap(rules: Iterable[str], topics: Iterable[BagTopic]) -> dict[str, str]:
    """Parses rules FROM:=TO into published names by recorded name.

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

    Waits are measured from one start, so that their errors do not add up. A time that jumps
    ahead by more than a limit, or back, becomes a new start.

    Args:
        rate: recorded seconds per second.
        now: monotonic clock in seconds.
        longest_gap_s: longest gap between messages that is played in full.

    Attributes:
        recorded_ns: recorded time since the first message, without skipped gaps.
        skipped: number of skipped gaps.
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
        """Makes a recorded time the present one."""
        self._start, self._start_ns = self._now(), time_ns

    def follow(self, time_ns: int) -> str:
        """Takes the time of the next message; returns '' or a line about a skipped gap."""
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
        """Returns the seconds to wait for a recorded time; negative when it has passed."""
        return self._start + (time_ns - self._start_ns) / 1e9 / self.rate - self._now()

    def time_ns(self) -> int:
        """Returns the recorded time of this moment."""
        return self._start_ns + int((self._now() - self._start) * self.rate * 1e9)


class Pulse:
    """Timer of a fixed frequency; missed ticks are skipped.

    Args:
        frequency: frequency in Hz.
        now: monotonic clock in seconds.
    """

    def __init__(self, frequency: float, now: Callable[[], float] = time.monotonic) -> None:
        self._period = 1 / frequency
        self._now = now
        self._start = now()
        self._count = 0

    def due(self) -> bool:
        """Returns True once for each tick."""
        if self.seconds_left() > 0:
            return False
        self._count = int((self._now() - self._start) / self._period) + 1
        return True

    def seconds_left(self) -> float:
        """Returns the seconds to the next tick; negative when it is late."""
        return self._start + self._count * self._period - self._now()
