# SPDX-License-Identifier: Apache-2.0
"""Texts of launch arguments as values, in all the forms that other packages' launch files take.

Each function gets the argument's name and text, and raises TinyBevError for one that is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from rclpy.exceptions import NameValidationException
from rclpy.validate_namespace import validate_namespace
from rclpy.validate_topic_name import validate_topic_name

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.nodes.camera_parameters import camera_names

LEVELS = ('debug', 'info', 'warn', 'error', 'fatal')
# Those of YAML, which launch reads truth values as, and of launch's conditions.
_TRUE, _FALSE = ('true', 'yes', 'on', '1'), ('false', 'no', 'off', '0')


def truth(name: str, text: str) -> bool | None:
    """A truth value; None where the text is empty."""
    word = text.strip().lower()
    if word not in ('', *_TRUE, *_FALSE):
        raise TinyBevError(f'{name} is {text!r}; expected true or false')
    return word in _TRUE if word else None


def number(name: str, text: str) -> str:
    """The text of a number above 0."""
    try:
        good = 0.0 < float(text) < math.inf
    except ValueError:
        good = False
    if not good:
        raise TinyBevError(f'{name} is {text!r}; expected a number above 0')
    return text.strip()


def log_level(name: str, text: str) -> str:
    """A level, in capitals or not, for all loggers or after `logger:=` for one."""
    if text.rpartition(':=')[2].strip().lower() not in LEVELS:
        raise TinyBevError(f'{name} is {text!r}; expected one of {", ".join(LEVELS)}')
    return text.strip()


def camera_list(name: str, text: str) -> list[str]:
    """Names of cameras between commas; [''] for none."""
    given = [each.strip() for each in text.split(',')]
    try:
        camera_names({'cameras': given})
    except TinyBevError:
        raise TinyBevError(
            f'{name} is {text!r}; expected names such as front,rig/left, each once, or nothing'
        ) from None
    return given


def namespace(name: str, text: str) -> str:
    """A namespace, absolute or not, without a / at its end."""
    given = text.rstrip('/')
    if given:
        _check(name, text, validate_namespace, given if given[0] == '/' else f'/{given}')
    return given


def topic(name: str, text: str) -> str:
    """A topic, absolute, relative or private; empty where it keeps its name."""
    if '//' in text:  # of which rclpy says nothing before the name is complete
        raise TinyBevError(f'{name} is {text!r}; expected a name of ROS: it must not have a //')
    if text:
        _check(name, text, validate_topic_name, text)
    return text


def camera_topics(name: str, text: str, inside: str, cameras: list[str]) -> dict[str, str]:
    """New names of the topic `inside` of each camera, by the old ones.

    Args:
        name: of the argument.
        text: the new name, relative to that of each camera; of a single camera any.
        inside: the old name, relative to that of each camera.
        cameras: from `camera_list`.
    """
    given = topic(name, text)
    if not given or cameras == ['']:
        return {}
    if not given.startswith(('/', '~')):
        return {f'{camera}/{inside}': f'{camera}/{given}' for camera in cameras}
    if len(cameras) > 1:
        raise TinyBevError(
            f'{name} is {text!r}; expected a name relative to each of the {len(cameras)} cameras'
        )
    return {f'{cameras[0]}/{inside}': given}


def _check(name: str, text: str, check: Callable[[str], Any], full: str) -> None:
    try:
        check(full)
    except NameValidationException as error:
        # Further lines point at the letter.
        reason = str(error).splitlines()[0].partition(': ')[2].rstrip(':')
        raise TinyBevError(f'{name} is {text!r}; expected a name of ROS: {reason}') from None
