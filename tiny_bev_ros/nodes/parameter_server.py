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

from collections.abc import Callable
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
from tiny_bev_ros.nodes.parameter_definitions.parameter_type import Parameter
from tiny_bev_ros.nodes.rcl_yaml import Given
from tiny_bev_ros.nodes.start_values import StartValues, fault_of
from tiny_bev_ros.nodes.yaml_numbers import with_numbers


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
    """

    def __init__(
        self,
        node: Node,
        parameters: tuple[Parameter, ...],
        is_configured: Callable[[], bool],
        apply: Callable[[dict[str, Any], set[str]], None],
    ) -> None:
        self._node = node
        self._is_configured, self._apply = is_configured, apply
        # A private attribute, equal in all releases: rclpy has no public access to overrides
        # before their declaration.
        overrides: dict[str, RosParameter] = getattr(node, '_parameter_overrides', {})
        self._start = StartValues(
            parameters, {name: _given(override) for name, override in overrides.items()}
        )
        if self._start.shipped.reason:
            node.get_logger().info(f'weights: none, as {self._start.shipped.reason}')
        for parameter in self._by_name.values():
            self._declare(parameter)
        node.add_on_set_parameters_callback(self._change)
        if hasattr(node, 'add_pre_set_parameters_callback'):  # Iron and later
            node.add_pre_set_parameters_callback(self._convert_numbers)
        for line in self._start.unknown():
            node.get_logger().warning(line)

    @property
    def values(self) -> dict[str, Any]:
        """Current value by parameter name."""
        return self._start.values

    def check(self) -> None:
        """Raises TinyBevError if a start value is wrong."""
        for parameter in self._start.add_extrinsics():
            self._declare(parameter)
        self._start.check()

    @property
    def _by_name(self) -> dict[str, Parameter]:
        return self._start.definitions

    def _declare(self, parameter: Parameter) -> None:
        name, value = parameter.name, self.values[parameter.name]
        # rclpy declares no [], which has no type.
        declared = parameter.default if value == [] else value
        self._node.declare_parameter(
            name, declared, descriptor_of(parameter), ignore_override=True
        )
        if value == []:
            kind = RosParameter.Type.from_parameter_value(parameter.default)
            self._node.set_parameters([RosParameter(name, kind, [])])

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
        self._start.values = values
        for name in known:
            self._start.faults.pop(name, None)
        return SetParametersResult(successful=True)

    def _check_change(self, parameter: Parameter, change: RosParameter) -> None:
        fault = fault_of(parameter, _given(change))
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


def _given(parameter: RosParameter) -> Given:
    return Given(parameter.type_.name, _plain(parameter.value))


def _plain(value: Any) -> Any:
    """Returns an array as a list, everything else unchanged."""
    return list(value) if hasattr(value, 'typecode') else value
