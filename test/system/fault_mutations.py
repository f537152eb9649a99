# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Random changes of messages, of the kinds on which decoders fail."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np

_INTEGER = re.compile(r'(u?)int(8|16|32|64)')
_TEXTS = (
    '',
    ';',
    '=',
    'batch;stamp=',
    'height;origin=nan;step=1',
    'height;origin=0;step=-1',
    'width;origin=1e308;step=1e-308',
    'channel',
    'byte;dtype=float64',
    'x',
    'intensity',
    '\x00',
    'é' * 300,
)
_FLOATS = (0.0, -0.0, 1.0, -1.0, float('nan'), float('inf'), float('-inf'), 1e38, 1e-45)


def mutated(message: Any, random: np.random.Generator) -> Any:
    """Returns a copy of a ROS message with one to four fields changed, at any depth."""
    result = copy.deepcopy(message)
    for _ in range(int(random.integers(1, 5))):
        _mutate(result, random)
    return result


def _mutate(message: Any, random: np.random.Generator) -> None:
    types = message.get_fields_and_field_types()
    name = list(types)[int(random.integers(len(types)))]
    value = getattr(message, name)
    if hasattr(value, 'get_fields_and_field_types'):
        _mutate(value, random)
    elif isinstance(value, list):
        _mutate_list(value, random)
    else:
        setattr(message, name, _changed_value(value, types[name], random))


def _mutate_list(values: list[Any], random: np.random.Generator) -> None:
    if not values:
        return
    index = int(random.integers(len(values)))
    kind = random.integers(4)
    if kind == 0:
        del values[index]
    elif kind == 1:
        values.append(copy.deepcopy(values[index]))
    elif hasattr(values[index], 'get_fields_and_field_types'):
        _mutate(values[index], random)


def _changed_value(value: Any, type_name: str, random: np.random.Generator) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return _TEXTS[int(random.integers(len(_TEXTS)))]
    integer = _INTEGER.fullmatch(type_name)
    if integer:
        bits = int(integer[2])
        low, high = (0, 2**bits - 1) if integer[1] else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        choices = (low, high, 0, 1, 2, 3, 7, 8, high // 2, value - 1, value + 1, value * 2)
        return int(min(max(choices[int(random.integers(len(choices)))], low), high))
    if isinstance(value, float):
        return _FLOATS[int(random.integers(len(_FLOATS)))]
    return _changed_data(value, random)


def _changed_data(data: Any, random: np.random.Generator) -> Any:
    """Returns an array.array that is truncated, extended, or has wrong bytes or numbers."""
    kind = random.integers(4)
    if kind == 0:
        return data[: int(random.integers(len(data) + 1))]
    if kind == 1:
        return data + data[: int(random.integers(min(len(data), 64) + 1))]
    result = data[:]
    if not len(result):
        return result
    for _ in range(int(random.integers(1, 9))):
        index = int(random.integers(len(result)))
        if result.typecode == 'f':
            result[index] = _FLOATS[int(random.integers(len(_FLOATS)))]
        else:
            result[index] = int(random.integers(256))
    return result
