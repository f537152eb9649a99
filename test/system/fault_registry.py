# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Registry of the faults that can be tried on a node, and the outcome of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fault_rig import Rig


@dataclass
class Outcome:
    """Outcome of a fault.

    Attributes:
        tries: number of times it was tried.
        did: reaction of the node, in words.
        lost: number of good clouds without an output, up to the first output after each try.
        seconds: longest time from the end of a try to the next good output.
        problems: descriptions of what a node must not do and did.
    """

    tries: int = 0
    did: str = ''
    lost: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def count_try(self, rig: Rig) -> None:
        """Counts a try, and waits for the next good output."""
        self.tries += 1
        self.wait_for_recovery(rig)

    def wait_for_recovery(self, rig: Rig) -> None:
        """Waits for the next good output."""
        lost, seconds = rig.recover()
        self.lost += lost
        self.seconds = max(self.seconds, seconds)


Case = Callable[[Rig, int], Outcome]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    """Registers a fault: a function that takes a rig and the number of tries."""

    def register(function: Case) -> Case:
        CASES[name] = function
        return function

    return register


def describe_drops(before: dict[str, int], after: dict[str, int], tries: int) -> str:
    """Describes the inputs that a node reported as dropped between two counts."""
    dropped = [
        f'{after[cause] - before[cause]} {cause}'
        for cause in after
        if cause not in ('received', 'published') and after[cause] != before[cause]
    ]
    return ', '.join(dropped) or f'{tries} published under their own stamp'
