# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Parser of the dimension labels of tensor messages; docs/tensor_message.md has the grammar."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import Axis
from tiny_bev_ros.messages.message_fields import Stamp
from tiny_bev_ros.messages.tensor_labels import (
    AXES,
    BYTE_LABEL,
    CALIBRATION_SIZES,
    DETECTION_AXES,
    MAX_SEC,
    PILLAR_AXES,
    SHORT,
    CameraCalibration,
    TensorLabels,
)

# Names and their aliases.
_NAMES = {name: name for name in (*AXES, 'pillar', 'object', 'byte')} | {
    'n': 'batch', 'b': 'batch', 'c': 'channel',
    'h': 'height', 'y': 'height', 'w': 'width', 'x': 'width',
}  # fmt: skip
# Dimensions on which a key may stand; unknown keys may stand on any.
_KEYS = (
    {'dtype': ('byte',)}
    | dict.fromkeys(('stamp', 'frame_id'), ('batch', 'pillar', 'object'))
    | {'classes': ('object',)}
    | dict.fromkeys(('k', 'd'), ('batch',))
    | dict.fromkeys(('origin', 'step', 'cells'), ('height', 'width'))
)

_STAMP = re.compile(r'([0-9]{1,10})\.([0-9]{9})')
# float() alone would accept '1_0', ' 1 ', 'nan' and the digits of every script.
_COUNT = re.compile(r'[1-9][0-9]{0,8}')
_NUMBER = re.compile(r'[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?')
_BAD_ESCAPE = re.compile(r'%(?![0-9A-Fa-f]{2})')


class _Label(NamedTuple):
    where: str  # beginning of an error message
    name: str  # one of AXES, 'byte', or '' for an empty label
    values: dict[str, str]


def parse_labels(texts: Sequence[str], *, float16: bool = False) -> tuple[list[str], TensorLabels]:
    """Parses the labels of the dimensions of a dense tensor.

    Args:
        texts: labels in the order of the dimensions.
        float16: True if the last dimension must be the two bytes of a float16; otherwise
            there must be no such dimension.

    Returns:
        The name (one of ``AXES``) of each dimension, without the byte dimension, and the
        labels. Empty texts name (batch,) channel, height, width in this order.

    Raises:
        TinyBevError: a label is unknown, missing, repeated or malformed.
    """
    labels = _split_all(texts, (3, 4), float16)
    expected = AXES[-len(labels) :]
    names = [label.name for label in labels]
    if not any(names):
        return list(expected), TensorLabels()
    return names, _tensor_labels(_by_name(labels, expected))


def parse_pillar_labels(
    texts: Sequence[str], *, float16: bool = False
) -> tuple[list[str], TensorLabels, tuple[int, int]]:
    """Parses the labels of the dimensions of a tensor of pillars, none of which may be empty.

    Args:
        texts: labels in the order of the dimensions.
        float16: True if the last dimension must be the two bytes of a float16.

    Returns:
        The name (one of ``PILLAR_AXES``) of each dimension, the labels, and (H,W) of the canvas.

    Raises:
        TinyBevError: a label is unknown, missing, repeated or malformed.
    """
    by_name = _by_name(_split_all(texts, (4,), float16), PILLAR_AXES)
    canvas = _cells(by_name['height']), _cells(by_name['width'])
    return list(by_name), _tensor_labels(by_name), canvas


def parse_detection_labels(texts: Sequence[str]) -> tuple[TensorLabels, list[str]]:
    """Parses the labels of the dimensions of a list of detections.

    Returns:
        Stamp and frame, and the names of the classes.

    Raises:
        TinyBevError: a label is unknown, missing, repeated or malformed.
    """
    first = _by_name(_split_all(texts, (2,), float16=False), DETECTION_AXES)['object']
    labels = TensorLabels(_stamp(first), first.values.get('frame_id'))
    classes = first.values.get('classes', '')
    if not classes:
        raise TinyBevError(f'{first.where}, without classes; expected their names')
    return labels, classes.split(',')


def _split_all(texts: Sequence[str], ranks: tuple[int, ...], float16: bool) -> list[_Label]:
    labels = [_split(index, text) for index, text in enumerate(texts)]
    if float16:
        if not labels or labels[-1].values.get('dtype') != 'float16':
            last = SHORT.repr(texts[-1]) if texts else 'missing'
            raise TinyBevError(
                f'label of the last layout.dim is {last}; expected {BYTE_LABEL!r}, '
                'which a UInt8MultiArray needs'
            )
        labels.pop()
    for label in labels:
        if label.name == 'byte':
            raise TinyBevError(
                f'{label.where}; expected no byte dimension here: '
                'it is the last one of a UInt8MultiArray'
            )
    if len(labels) not in ranks:
        expected = ' or '.join(str(rank + float16) for rank in ranks)
        raise TinyBevError(f'layout.dim has {len(texts)} entries; expected {expected}')
    return labels


def _by_name(labels: list[_Label], expected: tuple[str, ...]) -> dict[str, _Label]:
    names = [label.name for label in labels]
    if sorted(names) != sorted(expected):
        or_empty = ', or all empty' if 'height' in expected and 'pillar' not in expected else ''
        raise TinyBevError(
            f'layout.dim labels are {names}; expected each of {list(expected)} once{or_empty}'
        )
    return {label.name: label for label in labels}


def _tensor_labels(by_name: dict[str, _Label]) -> TensorLabels:
    first = by_name.get('batch') or by_name.get('pillar')
    batch = by_name.get('batch')
    return TensorLabels(
        stamp=_stamp(first) if first else None,
        frame_id=first.values.get('frame_id') if first else None,
        y_axis=_axis(by_name['height']),
        x_axis=_axis(by_name['width']),
        calibration=_calibration(batch) if batch else None,
    )


def _split(index: int, text: str) -> _Label:
    where = f'layout.dim[{index}].label is {SHORT.repr(text)}'
    if not text:
        return _Label(where, '', {})
    head, *pairs = text.split(';')
    name = _NAMES.get(head.lower())
    if name is None:
        raise TinyBevError(f'{where}; expected it to begin with one of {sorted(_NAMES)}')
    values: dict[str, str] = {}
    for pair in pairs:
        key, *rest = pair.split('=')
        if len(rest) != 1 or not key or key in values:
            raise TinyBevError(
                f'{where}, with {SHORT.repr(pair)}; expected key=value, each key once'
            )
        if name not in _KEYS.get(key, (name,)):
            raise TinyBevError(f'{where}; expected {key} only on {" and ".join(_KEYS[key])}')
        values[key] = _unquoted(rest[0], f'{where}, with {key}')
    return _Label(where, name, values)


def _unquoted(value: str, where: str) -> str:
    # unquote() on its own keeps a broken escape and replaces broken UTF-8.
    try:
        if not _BAD_ESCAPE.search(value):
            return unquote(value, errors='strict')
    except UnicodeDecodeError:
        pass
    raise TinyBevError(f'{where} {SHORT.repr(value)}; expected percent-encoded UTF-8')


def _stamp(label: _Label) -> Stamp | None:
    text = label.values.get('stamp')
    if text is None:
        return None
    match = _STAMP.fullmatch(text)
    if match is None or int(match[1]) > MAX_SEC:
        raise TinyBevError(
            f'{label.where}, with stamp {SHORT.repr(text)}; expected <sec>.<nanosec> '
            f'with sec in 0..{MAX_SEC} and nine digits of nanosec'
        )
    return int(match[1]), int(match[2])


def _axis(label: _Label) -> Axis | None:
    given = [key for key in ('origin', 'step') if key in label.values]
    if not given:
        return None
    if len(given) == 1:
        raise TinyBevError(f'{label.where}, with {given[0]} alone; expected origin and step')
    numbers = {}
    for key in given:
        text = label.values[key]
        value = _number(text)
        if not math.isfinite(value) or (key == 'step' and value <= 0):
            expected = 'a finite number' + (' above 0' if key == 'step' else '')
            raise TinyBevError(
                f'{label.where}, with {key} {SHORT.repr(text)}; expected {expected}'
            )
        numbers[key] = value
    return Axis(**numbers)


def _calibration(label: _Label) -> CameraCalibration | None:
    given = [key for key in ('k', 'd') if key in label.values]
    if given == ['d']:
        raise TinyBevError(f'{label.where}, with d alone; expected k, and d for a distorting lens')
    values = {}
    for key in given:
        text, sizes = label.values[key], CALIBRATION_SIZES[key]
        values[key] = tuple(_number(part) for part in text.split(','))
        if len(values[key]) not in sizes or not all(map(math.isfinite, values[key])):
            raise TinyBevError(
                f'{label.where}, with {key} {SHORT.repr(text)}; '
                f'expected {" or ".join(map(str, sizes))} finite numbers between commas'
            )
    return CameraCalibration(**values) if values else None


def _number(text: str) -> float:
    """Returns the value of a decimal number; NaN for any other text."""
    return float(text) if _NUMBER.fullmatch(text) else math.nan


def _cells(label: _Label) -> int:
    text = label.values.get('cells')
    if text is None or not _COUNT.fullmatch(text):
        found = 'without cells' if text is None else f'with cells {SHORT.repr(text)}'
        raise TinyBevError(f'{label.where}, {found}; expected cells, a whole number above 0')
    return int(text)
