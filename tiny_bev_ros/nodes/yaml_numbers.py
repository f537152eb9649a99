# SPDX-License-Identifier: Apache-2.0
"""Numbers that YAML 1.1, and with it `ros2 param load` and `ros2 param set`, take for text."""

from __future__ import annotations

from typing import Any

from rclpy.parameter import Parameter as RosParameter


def with_numbers(given: RosParameter, default: Any) -> RosParameter:
    """A parameter whose text is numbers, as 1e-09, inf or [1e-05, 0.0], where they are wanted.

    Args:
        given: as it came.
        default: of the parameter; has its type.

    Returns:
        The same with numbers; or as it came, where it is anything else.
    """
    wanted = RosParameter.Type.from_parameter_value(default)
    try:
        if wanted == RosParameter.Type.DOUBLE and isinstance(given.value, str):
            return RosParameter(given.name, wanted, float(given.value))
        if wanted == RosParameter.Type.DOUBLE_ARRAY and _is_text(given):
            return RosParameter(given.name, wanted, [float(each) for each in _parts(given.value)])
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
