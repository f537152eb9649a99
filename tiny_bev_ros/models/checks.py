# SPDX-License-Identifier: Apache-2.0
"""Checks of arguments that several networks share."""

from __future__ import annotations

from typing import Any

from tiny_bev_ros.errors import TinyBevError


def check_positive_int(name: str, value: Any) -> None:
    """Raises TinyBevError, naming the argument, unless it is a whole number above 0."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise TinyBevError(f'{name} is {value!r}; expected a whole number above 0')


def check_shared_evenly(name: str, channels: int, heads: int) -> None:
    """Raises TinyBevError, naming the argument, unless each head gets as many channels."""
    if channels % heads:
        raise TinyBevError(f'{name} is {channels}; expected a multiple of heads, {heads}')
