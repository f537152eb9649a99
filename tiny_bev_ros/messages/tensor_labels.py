# SPDX-License-Identifier: Apache-2.0
"""What the dimension labels of a tensor message say: order, stamp, frame, grid, calibration.

The grammar is written down in docs/tensor_message.md.
"""

from __future__ import annotations

import dataclasses
import math
import re
import reprlib
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote, unquote

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import Axis
from tiny_bev_ros.messages.calibration_labels import COUNTS, Calibration

# The dimensions in the order of a tensor's axes.
AXES = ('batch', 'channel', 'height', 'width')
PILLAR_AXES = ('pillar', *AXES[1:])
OBJECT_AXES = ('object', 'channel')
BYTE_LABEL = 'byte;dtype=float16'

_NAMES = {name: name for name in (*AXES, 'pillar', 'object', 'byte')} | {
    'n': 'batch', 'b': 'batch', 'c': 'channel',
    'h': 'height', 'y': 'height', 'w': 'width', 'x': 'width',
}  # fmt: skip
_KEYS = (
    {'dtype': ('byte',)}
    | dict.fromkeys(('stamp', 'frame_id'), ('batch', 'pillar', 'object'))
    | {'classes': ('object',)}
    | dict.fromkeys(('k', 'd'), ('batch',))
    | dict.fromkeys(('origin', 'step', 'cells'), ('height', 'width'))
)

_MAX_SEC = 2**31 - 1  # builtin_interfaces/Time has an int32
_STAMP = re.compile(r'([0-9]{1,10})\.([0-9]{9})')
# float() alone would take '1_0', ' 1 ', 'nan' and the digits of every script.
_COUNT = re.compile(r'[1-9][0-9]{0,8}')
_NUMBER = re.compile(r'[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?')
_BAD_ESCAPE = re.compile(r'%(?![0-9A-Fa-f]{2})')
_PLAIN = ''.join(sorted(set(string.punctuation) - set(';=%')))

# A label comes from another node: it may be long, and the log wants one line.
_SHORT = reprlib.Repr()
_SHORT.maxstring = 100


@dataclass(frozen=True)
class TensorLabels:
    """What travels with a tensor beside its numbers; None is "not said".

    Attributes:
        stamp: (sec, nanosec) of the measurement.
        frame_id: coordinate frame of the axes.
        y_axis: metric axis of the rows.
        x_axis: metric axis of the columns.
        calibration: of the camera, for features in its picture, whose rows and columns have no
            metric axes.

    Raises:
        TinyBevError: the stamp is outside of builtin_interfaces/Time or negative, or the
            frame is no text that UTF-8 can carry.
    """

    stamp: tuple[int, int] | None = None
    frame_id: str | None = None
    y_axis: Axis | None = None
    x_axis: Axis | None = None
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        if self.stamp is not None:
            sec, nanosec = self.stamp
            if not (0 <= sec <= _MAX_SEC and 0 <= nanosec < 10**9):
                raise TinyBevError(
                    f'stamp is ({sec}, {nanosec}); expected sec in 0..{_MAX_SEC} '
                    'and nanosec in 0..999999999'
                )
        if self.frame_id is not None:
            try:
                self.frame_id.encode()
            except UnicodeEncodeError:
                raise TinyBevError(
                    f'frame_id is {_SHORT.repr(self.frame_id)}; expected text that UTF-8 can carry'
                ) from None

    def strided(self, stride: int) -> TensorLabels:
        """Of a map that a network has made ``stride`` times coarser."""
        return dataclasses.replace(
            self,
            y_axis=self.y_axis and self.y_axis.strided(stride),
            x_axis=self.x_axis and self.x_axis.strided(stride),
            calibration=None,  # which says nothing of a map with metric axes
        )


class _Label(NamedTuple):
    where: str  # how an error begins
    name: str  # of AXES, 'byte', or '' for an empty label
    values: dict[str, str]


def write_labels(labels: TensorLabels, canvas: tuple[int, int] | None = None) -> list[str]:
    """Texts of the labels of a tensor's four dimensions.

    Args:
        labels: what they say.
        canvas: (H,W) of the map on which pillars are, whose first dimension is then pillar;
            None for a dense tensor, which begins with batch.
    """
    names = AXES if canvas is None else PILLAR_AXES
    pairs: dict[str, dict[str, str]] = {name: {} for name in names}
    if labels.stamp is not None:
        sec, nanosec = labels.stamp
        pairs[names[0]]['stamp'] = f'{sec}.{nanosec:09d}'
    if labels.frame_id is not None:
        pairs[names[0]]['frame_id'] = quote(labels.frame_id, safe=_PLAIN)
    if labels.calibration is not None and canvas is None:
        pairs['batch'] |= labels.calibration.pairs()
    if canvas is not None:
        pairs['height']['cells'], pairs['width']['cells'] = map(str, canvas)
    for name, axis in (('height', labels.y_axis), ('width', labels.x_axis)):
        if axis is not None:
            # repr is the shortest text that reads back as the same float.
            pairs[name] |= {'origin': repr(axis.origin), 'step': repr(axis.step)}
    return [
        ';'.join([name, *(f'{key}={value}' for key, value in pairs[name].items())])
        for name in names
    ]


def parse_labels(texts: Sequence[str], *, float16: bool = False) -> tuple[list[str], TensorLabels]:
    """Reads the labels of the dimensions of a dense tensor.

    Args:
        texts: the labels in the order of the dimensions.
        float16: whether the last dimension must be the two bytes of a float16; otherwise
            there must be no such dimension.

    Returns:
        The name (of ``AXES``) of each dimension, without the byte dimension, and what the
        labels say. Empty labels name (batch,) channel, height, width in this order.

    Raises:
        TinyBevError: a label is unknown, missing, repeated or malformed.
    """
    labels = _split_all(texts, (3, 4), float16)
    expected = AXES[-len(labels) :]
    names = [label.name for label in labels]
    if not any(names):
        return list(expected), TensorLabels()
    return names, _meaning(_by_name(labels, expected))


def parse_pillar_labels(
    texts: Sequence[str], *, float16: bool = False
) -> tuple[list[str], TensorLabels, tuple[int, int]]:
    """The same for a tensor of pillars, each label of which must be named.

    Returns:
        The name (of ``PILLAR_AXES``) of each dimension, what the labels say, and (H,W) of
        the canvas.
    """
    by_name = _by_name(_split_all(texts, (4,), float16), PILLAR_AXES)
    canvas = _cells(by_name['height']), _cells(by_name['width'])
    return list(by_name), _meaning(by_name), canvas


def write_object_labels(labels: TensorLabels, classes: Sequence[str]) -> list[str]:
    """Texts of the labels of a list of objects: stamp, frame, and the names of the classes."""
    first, *_ = write_labels(labels)
    names = ','.join(quote(name, safe='') for name in classes)
    return [f'object{first.removeprefix("batch")};classes={names}', 'channel']


def parse_object_labels(texts: Sequence[str]) -> tuple[TensorLabels, list[str]]:
    """Stamp and frame of a list of objects, and the names of the classes.

    Raises:
        TinyBevError: a label is unknown, missing, repeated or malformed.
    """
    first = _by_name(_split_all(texts, (2,), float16=False), OBJECT_AXES)['object']
    labels = TensorLabels(_stamp(first), first.values.get('frame_id'))
    classes = first.values.get('classes', '')
    if not classes:
        raise TinyBevError(f'{first.where}, without classes; expected their names')
    return labels, classes.split(',')


def _split_all(texts: Sequence[str], ranks: tuple[int, ...], float16: bool) -> list[_Label]:
    labels = [_split(index, text) for index, text in enumerate(texts)]
    if float16:
        if not labels or labels[-1].values.get('dtype') != 'float16':
            last = _SHORT.repr(texts[-1]) if texts else 'missing'
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
        wanted = ' or '.join(str(rank + float16) for rank in ranks)
        raise TinyBevError(f'layout.dim has {len(texts)} entries; expected {wanted}')
    return labels


def _by_name(labels: list[_Label], expected: tuple[str, ...]) -> dict[str, _Label]:
    names = [label.name for label in labels]
    if sorted(names) != sorted(expected):
        or_empty = ', or all empty' if 'height' in expected and 'pillar' not in expected else ''
        raise TinyBevError(
            f'layout.dim labels are {names}; expected each of {list(expected)} once{or_empty}'
        )
    return {label.name: label for label in labels}


def _meaning(by_name: dict[str, _Label]) -> TensorLabels:
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
    where = f'layout.dim[{index}].label is {_SHORT.repr(text)}'
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
                f'{where}, with {_SHORT.repr(pair)}; expected key=value, each key once'
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
    raise TinyBevError(f'{where} {_SHORT.repr(value)}; expected percent-encoded UTF-8')


def _stamp(label: _Label) -> tuple[int, int] | None:
    text = label.values.get('stamp')
    if text is None:
        return None
    match = _STAMP.fullmatch(text)
    if match is None or int(match[1]) > _MAX_SEC:
        raise TinyBevError(
            f'{label.where}, with stamp {_SHORT.repr(text)}; expected <sec>.<nanosec> '
            f'with sec in 0..{_MAX_SEC} and nine digits of nanosec'
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
            wanted = 'a finite number' + (' above 0' if key == 'step' else '')
            raise TinyBevError(f'{label.where}, with {key} {_SHORT.repr(text)}; expected {wanted}')
        numbers[key] = value
    return Axis(**numbers)


def _calibration(label: _Label) -> Calibration | None:
    given = [key for key in ('k', 'd') if key in label.values]
    if given == ['d']:
        raise TinyBevError(f'{label.where}, with d alone; expected k, and d where a lens bends')
    values = {}
    for key in given:
        text, counts = label.values[key], COUNTS[key]
        values[key] = tuple(_number(part) for part in text.split(','))
        if len(values[key]) not in counts or not all(map(math.isfinite, values[key])):
            raise TinyBevError(
                f'{label.where}, with {key} {_SHORT.repr(text)}; '
                f'expected {" or ".join(map(str, counts))} finite numbers between commas'
            )
    return Calibration(**values) if values else None


def _number(text: str) -> float:
    """NaN for what is no decimal number."""
    return float(text) if _NUMBER.fullmatch(text) else math.nan


def _cells(label: _Label) -> int:
    text = label.values.get('cells')
    if text is None or not _COUNT.fullmatch(text):
        said = 'without cells' if text is None else f'with cells {_SHORT.repr(text)}'
        raise TinyBevError(f'{label.where}, {said}; expected cells, a whole number above 0')
    return int(text)
