# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Definition of one parameter, and the check of its values; needs no ROS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from tiny_bev_ros.errors import TinyBevError

Value = bool | int | float | str | list[int] | list[float] | list[str]


@dataclass(frozen=True)
class Parameter:
    """Name, type, default, range and meaning of a parameter.

    Attributes:
        name: dotted name, such as ``grid.resolution``.
        default: default value; its type is the parameter's type.
        description: one line that begins with a noun and ends with the unit, if there is one.
        low, high: inclusive ends of a number's range.
        choices: allowed values of a string or an integer, or of each item of a list; empty
            allows any.
        changes: when the value may change: ``never`` while the node runs, while the node is
            ``unconfigured``, or ``always``.
        or_number: True if a number within the range is a value, too, beside the choices.
    """

    name: str
    default: Value
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] = ()
    changes: Literal['never', 'unconfigured', 'always'] = 'unconfigured'
    or_number: bool = False

    def check(self, value: Value) -> None:
        """Checks a value of the right type.

        Raises:
            TinyBevError: the value is not among the choices or outside of the range; the
                message begins with the parameter's name.
        """
        if isinstance(value, list) and self.choices:
            if set(value) - set(self.choices) or len(set(value)) < len(value):
                raise TinyBevError(
                    f'parameter {self.name} is {value!r}; '
                    f'expected some of {self.listed_choices}, each once'
                )
        elif self.choices and value not in self.choices and not self._takes_number(value):
            raise TinyBevError(
                f'parameter {self.name} is {value!r}; expected one of {self.listed_choices}'
                + (f', or {self.low:g} to {self.high:g}' if self.or_number else '')
            )
        if isinstance(value, str):
            return
        if self.low is not None and self.high is not None and not self.low <= value <= self.high:  # type: ignore[operator]
            raise TinyBevError(
                f'parameter {self.name} is {value}; expected {self.low:g} to {self.high:g}'
            )

    def _takes_number(self, value: Value) -> bool:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return self.or_number and is_number

    @property
    def listed_choices(self) -> str:
        """The choices between commas."""
        return ', '.join(str(choice) for choice in self.choices)


def checkpoint(network: str, without: str = 'random, untrained weights') -> Parameter:
    """Returns the parameter with the weights file of a network.

    Args:
        network: first part of the parameter's name.
        without: effect of an empty name.
    """
    return Parameter(
        f'{network}.checkpoint',
        '',
        f"weights file (.safetensors, .pt, .pth), read again when it is set; '' for {without}",
        changes='always',
    )
