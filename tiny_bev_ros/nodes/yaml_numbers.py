# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Numbers that YAML 1.1, and with it `ros2 param load` and `ros2 param set`, reads as text."""

from __future__ import annotations

from typing import Any

from rclpy.parameter import Parameter as RosParameter


def with_numbers(given: RosParameter, default: Any) -> RosParameter:
    """Converts text such as 1e-09, inf or [1e-05, 0.0] to numbers if the parameter has that type.

    Args:
        given: parameter as it was set.
        default: default value, which has the type of the parameter.

    Returns:
        Parameter with numbers; ``given`` itself if its text holds anything else.
    """
    expected_type = RosParameter.Type.from_parameter_value(default)
    try:
        if expected_type == RosParameter.Type.DOUBLE and isinstance(given.value, str):
            return RosParameter(given.name, expected_type, float(given.value))
        if expected_type == RosParameter.Type.DOUBLE_ARRAY and _is_text(given):
            return RosParameter(
                given.name, expected_type, [float(each) for each in _parts(given.value)]
            )
    except ValueError:
        pass
    return given


def _is_text(given: RosParameter) -> bool:
    return given.type_ in (RosParameter.Type.STRING, RosParameter.Type.STRING_ARRAY)


def _parts(value: str | list[str]) -> list[str]:
    if not isinstance(value, str):
        return value
    inner = value.strip().removeprefix('[').removesuffix(']')
    return inner.split(',')
