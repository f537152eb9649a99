# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Parameters of a running node: declared, checked, and changed or refused at run time."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.nodes.camera_parameters import EXTRINSICS, extrinsics_parameters
from tiny_bev_ros.nodes.parameter_definitions.parameter_type import Parameter
from tiny_bev_ros.nodes.parameters import ALL
from tiny_bev_ros.nodes.shipped_weights import Shipped, choose
from tiny_bev_ros.nodes.yaml_numbers import with_numbers

_NUMBERS = (RosParameter.Type.INTEGER, RosParameter.Type.DOUBLE)
# Parameters that rclpy itself declares.
_ALSO_KNOWN = ('use_sim_time', 'start_type_description_service')


class ParameterServer:
    """Declares the parameters of a node and checks every change of them.

    A start value of the wrong type, or one that is not allowed, does not stop the node: it is
    kept as a fault until a right one is set.

    Args:
        node: node that declares the parameters.
        parameters: group of parameters.NODES.
        is_configured: returns True while only parameters that change at any time may change.
        apply: called with all values and the names of the changed ones when a configured node
            is changed; a TinyBevError that it raises refuses the change.

    Attributes:
        values: current value by parameter name.
    """

    def __init__(
        self,
        node: Node,
        parameters: tuple[Parameter, ...],
        is_configured: Callable[[], bool],
        apply: Callable[[dict[str, Any], set[str]], None],
    ) -> None:
        self._node = node
        self._by_name: dict[str, Parameter] = {}
        self._is_configured, self._apply = is_configured, apply
        self._faults: dict[str, str] = {}
        # A private attribute, equal in all releases: rclpy has no public access to overrides
        # before their declaration.
        self._overrides: dict[str, RosParameter] = getattr(node, '_parameter_overrides', {})
        self.values: dict[str, Any] = {}
        shipped = self._shipped(parameters)
        for parameter in parameters:
            default = shipped.defaults.get(parameter.name, parameter.default)
            self._declare(replace(parameter, default=default))
        with suppress(TinyBevError):  # raised again by `check`
            self._declare_extrinsics()
        node.add_on_set_parameters_callback(self._change)
        if hasattr(node, 'add_pre_set_parameters_callback'):  # Iron and later
            node.add_pre_set_parameters_callback(self._convert_numbers)
        _warn_of_unknown(node, self._overrides, self._by_name)

    def check(self) -> None:
        """Raises TinyBevError if a start value is wrong."""
        self._declare_extrinsics()
        for reason in self._faults.values():
            raise TinyBevError(reason)

    def _shipped(self, parameters: tuple[Parameter, ...]) -> Shipped:
        """Returns the shipped weights that set defaults, and sets `weights` to their name."""
        definition = next((each for each in parameters if each.name == 'weights'), None)
        if definition is None:
            return Shipped('none')
        given = self._overrides.get('weights')
        if given and _fault(definition, given):
            return Shipped('none')
        values = {name: _plain(each.value) for name, each in self._overrides.items()}
        shipped = choose(values.get('weights', definition.default), values)
        self._overrides['weights'] = RosParameter('weights', value=shipped.name)
        if shipped.reason:
            self._node.get_logger().info(f'weights: none, as {shipped.reason}')
        return shipped

    def _declare_extrinsics(self) -> None:
        """Declares a pose for each of `cameras`, which may have changed."""
        for parameter in extrinsics_parameters(self.values):
            if parameter.name not in self._by_name:
                self._declare(parameter)

    def _declare(self, parameter: Parameter) -> None:
        override = self._overrides.get(parameter.name)
        fault = _fault(parameter, override) if override else ''
        if fault:
            self._faults[parameter.name] = fault
        empty = override is not None and _is_empty(parameter, override)
        declared = self._node.declare_parameter(
            parameter.name,
            parameter.default,
            descriptor_of(parameter),
            ignore_override=bool(fault) or empty,
        )
        self._by_name[parameter.name] = parameter
        self.values[parameter.name] = _plain(declared.value)
        if empty and not fault:
            kind = RosParameter.Type.from_parameter_value(parameter.default)
            self._node.set_parameters([RosParameter(parameter.name, kind, [])])
            self.values[parameter.name] = []

    def _convert_numbers(self, changes: list[RosParameter]) -> list[RosParameter]:
        return [
            with_numbers(change, self._by_name[change.name].default)
            if change.name in self._by_name
            else change
            for change in changes
        ]

    def _change(self, changes: list[RosParameter]) -> SetParametersResult:
        known = {change.name: change for change in changes if change.name in self._by_name}
        values = {**self.values, **{name: _plain(each.value) for name, each in known.items()}}
        try:
            for name, change in known.items():
                self._check_change(self._by_name[name], change)
            if known and self._is_configured():
                self._apply(values, set(known))
        except TinyBevError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self.values = values
        for name in known:
            self._faults.pop(name, None)
        return SetParametersResult(successful=True)

    def _check_change(self, parameter: Parameter, change: RosParameter) -> None:
        fault = _fault(parameter, change)
        if fault:
            raise TinyBevError(fault)
        if change.type_ == RosParameter.Type.NOT_SET:
            raise TinyBevError(f'parameter {parameter.name} cannot be deleted; expected a value')
        same = _plain(change.value) == self.values[parameter.name]
        if parameter.changes != 'always' and self._is_configured() and not same:
            raise TinyBevError(
                f'parameter {parameter.name} changes only while the node is unconfigured; '
                'deactivate and clean it up first'
            )


def descriptor_of(parameter: Parameter) -> ParameterDescriptor:
    """Returns the descriptor that ``ros2 param describe`` shows."""
    constraints = [f'one of {parameter.listed_choices}'] if parameter.choices else []
    if parameter.changes == 'unconfigured':
        constraints.append('changes only while the node is unconfigured')
    descriptor = ParameterDescriptor(
        name=parameter.name,
        description=parameter.description,
        read_only=parameter.changes == 'never',
        # rclpy refuses [], which has no type, for a parameter of static type.
        dynamic_typing=isinstance(parameter.default, list) or parameter.or_number,
        additional_constraints='; '.join(constraints),
    )
    if parameter.low is None or parameter.high is None or parameter.or_number:
        return descriptor
    if isinstance(parameter.default, int):
        descriptor.integer_range = [
            IntegerRange(from_value=int(parameter.low), to_value=int(parameter.high), step=1)
        ]
    else:
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(parameter.low), to_value=float(parameter.high))
        ]
    return descriptor


def _fault(parameter: Parameter, given: RosParameter) -> str:
    """Returns the reason why a value is not allowed; '' if it is."""
    expected_type = RosParameter.Type.from_parameter_value(parameter.default)
    empty = _is_empty(parameter, given)
    is_number = parameter.or_number and given.type_ in _NUMBERS
    if given.type_ != expected_type and not (empty or is_number):
        is_unset = given.type_ == RosParameter.Type.NOT_SET
        shown = '[]' if is_unset else f'{_plain(given.value)!r} ({given.type_.name})'
        return (
            f'parameter {parameter.name} is {shown}; '
            f'expected {expected_type.name}, as in {parameter.default!r}'
        )
    try:
        parameter.check([] if empty else _plain(given.value))
    except TinyBevError as error:
        return str(error)
    return ''


def _is_empty(parameter: Parameter, given: RosParameter) -> bool:
    """Returns True for an empty array: [] has no type in YAML, and any type elsewhere."""
    nothing = given.type_ == RosParameter.Type.NOT_SET or _plain(given.value) == []
    return isinstance(parameter.default, list) and nothing


def _warn_of_unknown(node: Node, overrides: dict[str, RosParameter], own: dict[str, Any]) -> None:
    """Logs names of parameters that no node of the package has: most are misspelt."""
    known = {*ALL, *own, *_ALSO_KNOWN}
    # A node with cameras has declared the poses of all of them.
    others = ('qos_overrides.',) if 'cameras' in own else ('qos_overrides.', EXTRINSICS)
    for name in overrides:
        if name in known or name.startswith(others):
            continue
        close = difflib.get_close_matches(name, known, n=1)
        hint = f'; did you mean {close[0]}?' if close else ''
        node.get_logger().warning(f'parameter {name} is not known and has no effect{hint}')


def _plain(value: Any) -> Any:
    """Returns an array as a list, everything else unchanged."""
    return list(value) if hasattr(value, 'typecode') else value
