# SPDX-License-Identifier: Apache-2.0
"""The faults that can be tried on a node, by name, and what comes of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fault_rig import Rig


@dataclass
class Outcome:
    """What came of a fault.

    Attributes:
        tries: how often it was done.
        did: what the node did, in words.
        lost: good clouds that led to no output, until the first one that did after each try.
        seconds: from the end of a try to the next good output, the longest.
    """

    tries: int = 0
    did: str = ''
    lost: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def tried(self, rig: Rig) -> None:
        """Counts a try, and waits for the next good output."""
        self.tries += 1
        self.recovered(rig)

    def recovered(self, rig: Rig) -> None:
        """Waits for the next good output."""
        lost, seconds = rig.recover()
        self.lost += lost
        self.seconds = max(self.seconds, seconds)


Case = Callable[[Rig, int], Outcome]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    """Registers a fault, which is called with a rig and how often it is to be tried."""

    def register(function: Case) -> Case:
        CASES[name] = function
        return function

    return register


def difference(before: dict[str, int], after: dict[str, int], tries: int) -> str:
    """In words what the node says it did, beside publishing good clouds."""
    dropped = [
        f'{after[cause] - before[cause]} {cause}'
        for cause in after
        if cause not in ('received', 'published') and after[cause] != before[cause]
    ]
    return ', '.join(dropped) or f'{tries} published under their own stamp'
