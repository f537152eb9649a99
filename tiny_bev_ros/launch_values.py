# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Values of launch arguments, in all the forms that launch files of other packages accept.

Each function takes name and text of an argument, and raises TinyBevError for a wrong text.
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
# Words of YAML, by which launch reads truth values, and of launch's conditions.
_TRUE, _FALSE = ('true', 'yes', 'on', '1'), ('false', 'no', 'off', '0')


def truth(name: str, text: str) -> bool | None:
    """Returns a truth value; None for an empty text."""
    word = text.strip().lower()
    if word not in ('', *_TRUE, *_FALSE):
        raise TinyBevError(f'{name} is {text!r}; expected true or false')
    return word in _TRUE if word else None


def number(name: str, text: str) -> str:
    """Returns the text of a number above 0, without white space around it."""
    try:
        good = 0.0 < float(text) < math.inf
    except ValueError:
        good = False
    if not good:
        raise TinyBevError(f'{name} is {text!r}; expected a number above 0')
    return text.strip()


def log_level(name: str, text: str) -> str:
    """Returns a level for all loggers, or for one after `logger:=`; case does not matter."""
    if text.rpartition(':=')[2].strip().lower() not in LEVELS:
        raise TinyBevError(f'{name} is {text!r}; expected one of {", ".join(LEVELS)}')
    return text.strip()


def camera_list(name: str, text: str) -> list[str]:
    """Returns the names of cameras between commas; [''] for none."""
    given = [each.strip() for each in text.split(',')]
    try:
        camera_names({'cameras': given})
    except TinyBevError:
        raise TinyBevError(
            f'{name} is {text!r}; expected names such as front,rig/left, each once, or nothing'
        ) from None
    return given


def namespace(name: str, text: str) -> str:
    """Returns a namespace, absolute or relative, without a / at its end."""
    given = text.rstrip('/')
    if given:
        _check(name, text, validate_namespace, given if given[0] == '/' else f'/{given}')
    return given


def topic(name: str, text: str) -> str:
    """Returns a topic, absolute, relative or private; empty if it keeps its name."""
    if '//' in text:  # rclpy checks it in complete names alone
        raise TinyBevError(f'{name} is {text!r}; expected a name of ROS: it must not have a //')
    if text:
        _check(name, text, validate_topic_name, text)
    return text


def camera_topics(name: str, text: str, inside: str, cameras: list[str]) -> dict[str, str]:
    """Returns the new names of the topic `inside` of each camera, by the old ones.

    Args:
        name: name of the argument.
        text: new topic, relative to the name of each camera; any topic for a single camera.
        inside: old topic, relative to the name of each camera.
        cameras: names of the cameras, from `camera_list`.
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
        # Further lines of the message mark the wrong character.
        reason = str(error).splitlines()[0].partition(': ')[2].rstrip(':')
        raise TinyBevError(f'{name} is {text!r}; expected a name of ROS: {reason}') from None
