# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Order of the stamps of a recording: tells where it starts over from other jumps back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

# Largest distance of the first input of a bag's next round from the first stamp of the bag.
MAX_MISSED_NS = 5 * 10**9


class StampJump(NamedTuple):
    """Stamp earlier than the one before.

    Attributes:
        back_ns: difference of the two.
        is_restart: True where a bag or a simulation started over.
    """

    back_ns: int
    is_restart: bool


@dataclass
class StampOrder:
    """Stamps so far, as far as later jumps depend on them.

    Attributes:
        last_ns: last stamp; None before the first.
        lowest_ns: lowest stamp, the start of the recording.
        leap_ns: last stamp after a leap ahead, the start of another recording.
    """

    last_ns: int | None = None
    lowest_ns: int = 0
    leap_ns: int = 0

    def add(self, stamp_ns: int) -> StampJump | None:
        """Adds the next stamp; returns the jump if it is earlier than the one before."""
        last_ns, self.last_ns = self.last_ns, stamp_ns
        if last_ns is None:
            self.lowest_ns = self.leap_ns = stamp_ns
        elif stamp_ns < last_ns:
            return self._jump(stamp_ns, last_ns)
        elif stamp_ns > last_ns + MAX_MISSED_NS:
            self.leap_ns = stamp_ns
        return None

    def _jump(self, stamp_ns: int, last_ns: int) -> StampJump:
        is_restart = stamp_ns <= self.lowest_ns or any(
            # A slow node takes only some inputs, so the first ones of a round may be missed.
            start <= stamp_ns <= start + min(MAX_MISSED_NS, (last_ns - start) // 2)
            for start in (self.lowest_ns, self.leap_ns)
        )
        if is_restart:
            self.lowest_ns = min(self.lowest_ns, stamp_ns)
        return StampJump(last_ns - stamp_ns, is_restart)
