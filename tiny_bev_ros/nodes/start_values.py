# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Start values of a node's parameters: defaults and given values, checked; needs no ROS."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.nodes.camera_parameters import EXTRINSICS, extrinsics_parameters
from tiny_bev_ros.nodes.parameter_definitions.parameter_type import Parameter
from tiny_bev_ros.nodes.parameters import ALL
from tiny_bev_ros.nodes.rcl_yaml import Given
from tiny_bev_ros.nodes.shipped_weights import Shipped, choose

_NUMBERS = ('INTEGER', 'DOUBLE')
# Parameters that rclpy itself declares.
_ALSO_KNOWN = ('use_sim_time', 'start_type_description_service')


class StartValues:
    """Values with which a node starts; a wrong one is kept as a fault, and its default counts.

    Args:
        parameters: group of parameters.NODES.
        given: given values by name.
        trained: defaults of a weight file of `train`, in place of shipped weights.

    Attributes:
        definitions: parameters by name, with the defaults of weights.
        values: values by name.
        faults: reasons why given values are not allowed, by name.
        shipped: shipped weights that the node takes.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        given: Mapping[str, Given],
        trained: Mapping[str, Any] | None = None,
    ) -> None:
        self._given = dict(given)
        self.definitions: dict[str, Parameter] = {}
        self.values: dict[str, Any] = {}
        self.faults: dict[str, str] = {}
        self.shipped = (
            self._choose_weights(parameters) if trained is None else Shipped('none', '', trained)
        )
        for parameter in parameters:
            default = self.shipped.defaults.get(parameter.name, parameter.default)
            self._add(replace(parameter, default=default))
        with suppress(TinyBevError):  # raised again by `check`
            self.add_extrinsics()

    def check(self) -> None:
        """Raises TinyBevError if a value is wrong."""
        self.add_extrinsics()
        for reason in self.faults.values():
            raise TinyBevError(reason)

    def add_extrinsics(self) -> list[Parameter]:
        """Adds a pose for each of `cameras`, which may have changed; returns the new ones.

        Raises:
            TinyBevError: a name of a camera is wrong.
        """
        wanted = extrinsics_parameters(self.values)
        new = [parameter for parameter in wanted if parameter.name not in self.definitions]
        for parameter in new:
            self._add(parameter)
        return new

    def unknown(self) -> list[str]:
        """Returns a line for each given name that no node has: most are misspelt."""
        known = {*ALL, *self.definitions, *_ALSO_KNOWN}
        # A node with cameras has the poses of all of them.
        has_cameras = 'cameras' in self.definitions
        others = ('qos_overrides.',) if has_cameras else ('qos_overrides.', EXTRINSICS)
        lines = []
        for name in self._given:
            if name in known or name.startswith(others):
                continue
            close = difflib.get_close_matches(name, known, n=1)
            hint = f'; did you mean {close[0]}?' if close else ''
            lines.append(f'parameter {name} is not known and has no effect{hint}')
        return lines

    def _choose_weights(self, parameters: Sequence[Parameter]) -> Shipped:
        """Returns the shipped weights that set defaults, and sets `weights` to their name."""
        definition = next((each for each in parameters if each.name == 'weights'), None)
        if definition is None:
            return Shipped('none')
        given = self._given.get('weights')
        if given and fault_of(definition, given):
            return Shipped('none')
        values = {name: each.value for name, each in self._given.items()}
        shipped = choose(values.get('weights', definition.default), values)
        self._given['weights'] = Given('STRING', shipped.name)
        return shipped

    def _add(self, parameter: Parameter) -> None:
        name, given = parameter.name, self._given.get(parameter.name)
        self.definitions[name] = parameter
        self.values[name] = parameter.default
        if given is None:
            return
        fault = fault_of(parameter, given)
        if fault:
            self.faults[name] = fault
        else:
            self.values[name] = [] if is_empty(parameter, given) else given.value


def fault_of(parameter: Parameter, given: Given) -> str:
    """Returns the reason why a value is not allowed; '' if it is."""
    expected = Given.of(parameter.default).kind
    empty = is_empty(parameter, given)
    is_number = parameter.or_number and given.kind in _NUMBERS
    if given.kind != expected and not (empty or is_number):
        shown = '[]' if given.kind == 'NOT_SET' else f'{given.value!r} ({given.kind})'
        return (
            f'parameter {parameter.name} is {shown}; '
            f'expected {expected}, as in {parameter.default!r}'
        )
    try:
        parameter.check([] if empty else given.value)
    except TinyBevError as error:
        return str(error)
    return ''


def is_empty(parameter: Parameter, given: Given) -> bool:
    """Returns True for an empty array: [] has no type in YAML, and any type elsewhere."""
    nothing = given.kind == 'NOT_SET' or given.value == []
    return isinstance(parameter.default, list) and nothing
