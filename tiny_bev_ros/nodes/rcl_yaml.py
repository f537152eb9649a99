# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Parameter files read as rcl reads them, without ROS: sections of nodes, names, types of values.

rcl types scalars by rules of its own, which differ from YAML 1.1: ``017`` is 15, ``1e-9`` and
``inf`` are numbers, ``null`` and dates are text. Sections and names keep rcl's order as well, on
which its precedence rests.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tiny_bev_ros.errors import TinyBevError

_KEY = 'ros__parameters'
_TRUE = frozenset(['Y', 'y', 'yes', 'Yes', 'YES', 'true', 'True', 'TRUE', 'on', 'On', 'ON'])
_FALSE = frozenset(['N', 'n', 'no', 'No', 'NO', 'false', 'False', 'FALSE', 'off', 'Off', 'OFF'])
_INTEGER = re.compile(r'[+-]?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)')
_DECIMAL = re.compile(r'[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?')
_HEX = re.compile(r'[+-]?0[xX]([0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)([pP][+-]?[0-9]+)?')
_INFINITY = re.compile(r'[+-]?((?i:inf(inity)?)|\.(inf|Inf|INF))')
_NAN = re.compile(r'[+-]?(?i:nan)(\(\w*\))?|\.(nan|NaN|NAN)')
_NODE_TOKEN = re.compile(r'\*\*?|[A-Za-z_][A-Za-z0-9_]*', re.ASCII)
# Names of rcl's types in its order of precedence: a value of each type is kept, and the first
# counts.
_PRECEDENCE = (
    'BOOL',
    'INTEGER',
    'DOUBLE',
    'STRING',
    'BYTE_ARRAY',
    'BOOL_ARRAY',
    'INTEGER_ARRAY',
    'DOUBLE_ARRAY',
    'STRING_ARRAY',
)
_NAMES: dict[type, str] = {bool: 'BOOL', int: 'INTEGER', float: 'DOUBLE', str: 'STRING'}


class Given(NamedTuple):
    """Value of a parameter as it was given.

    Attributes:
        kind: name of its ROS type, such as DOUBLE; NOT_SET for an empty list of YAML.
        value: value, lists for arrays; None without a type.
    """

    kind: str
    value: Any

    @classmethod
    def of(cls, value: Any) -> Given:
        """Returns a Python value with its type; [] has none, as in YAML."""
        if not isinstance(value, (list, tuple)):
            return cls(_kind(value), value)
        kinds = {_kind(each) for each in value}
        if not kinds:
            return cls('NOT_SET', None)
        if len(kinds) > 1:
            raise TinyBevError(f'list is {list(value)!r}; expected values of one type')
        return cls(f'{kinds.pop()}_ARRAY', list(value))


class ParameterSections:
    """Sections of nodes from parameter files, in rcl's order: each file adds to them."""

    def __init__(self) -> None:
        self._sections: dict[str, _Section] = {}

    def add_file(self, path: str | Path) -> None:
        """Adds the sections of a file.

        Raises:
            TinyBevError: the file cannot be read, or is no parameter file of rcl.
        """
        try:
            events = yaml.parse(Path(path).expanduser().read_bytes(), Loader=yaml.SafeLoader)
            _Reader(self._sections, path, iter(events)).read()
        except OSError as error:
            raise TinyBevError(f'{path} cannot be read: {error.strerror}') from None
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            reason = ' '.join(str(error).split())
            raise TinyBevError(f'{path} is no YAML: {reason}') from None

    def add_given(self, name: str, given: Given) -> None:
        """Adds a parameter of the command line, `-p name:=value`."""
        self._sections.setdefault('/**', _Section()).find(name).put(given)

    def refuse_foreign(self, node: str, path: str | Path) -> None:
        """Raises TinyBevError when these sections, those of a file, are all of other nodes."""
        if self._sections and not any(_matches(pattern, node) for pattern in self._sections):
            raise TinyBevError(
                f'{path} has parameters of {", ".join(self._sections)}; expected some of '
                f'/{node} or of /**'
            )

    def of_node(self, node: str) -> dict[str, Given]:
        """Returns the parameters of a node in the default namespace, by name."""
        found: dict[str, Given] = {}
        for pattern, section in self._sections.items():
            if _matches(pattern, node):
                found |= {entry.name: entry.given for entry in section.entries}
        return found


class _Entry:
    """Name in a section, with one value for each type that it was given."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._values: dict[str, Any] = {}

    def put(self, given: Given) -> None:
        if given.kind != 'NOT_SET':
            self._values[given.kind] = given.value

    @property
    def given(self) -> Given:
        kind = next((each for each in _PRECEDENCE if each in self._values), 'NOT_SET')
        return Given(kind, self._values.get(kind))


class _Section:
    """Parameters of one pattern of nodes; a name may occur twice, and the last one counts."""

    def __init__(self) -> None:
        self.entries: list[_Entry] = []

    def find(self, name: str) -> _Entry:
        """Returns the first entry of a name, which is added if there is none."""
        for entry in self.entries:
            if entry.name == name:
                return entry
        self.entries.append(_Entry(name))
        return self.entries[-1]


class _Reader:
    """Reads the events of one file into sections."""

    def __init__(
        self, sections: dict[str, _Section], path: str | Path, events: Iterator[Any]
    ) -> None:
        self._sections, self._path, self._events = sections, path, events

    def read(self) -> None:
        for event in self._events:
            if isinstance(event, yaml.MappingStartEvent):
                self._read_nodes('')
            elif isinstance(event, yaml.NodeEvent):
                raise self._error(event, 'a value', 'names of nodes')

    def _read_nodes(self, prefix: str) -> None:
        """Reads a mapping of names of nodes and namespaces."""
        ended = False
        for key in self._keys():
            value = next(self._events)
            if ended:
                raise self._error(key, f'{key.value} after {_KEY}', f'{_KEY} as the last key')
            if not isinstance(value, yaml.MappingStartEvent):
                raise self._error(value, f'a value for {key.value}', f'a mapping with {_KEY}')
            if key.value.startswith(_KEY):
                self._check_node_name(prefix, key)
                self._read_parameters(self._sections.setdefault(prefix, _Section()), '')
                ended = True
            else:
                separator = '' if prefix in ('', '/') else '/'
                self._read_nodes(f'{prefix}{separator}{key.value}')

    def _check_node_name(self, name: str, key: Any) -> None:
        tokens = name.removeprefix('/').split('/')
        if not all(_NODE_TOKEN.fullmatch(token) for token in tokens):
            raise self._error(key, f'the node name {name!r}', 'letters, digits, _, * and **')

    def _read_parameters(self, section: _Section, prefix: str) -> None:
        """Reads a mapping of names of parameters."""
        is_empty = True
        for key in self._keys():
            is_empty = False
            entry = section.find(prefix or key.value)
            if prefix:  # the entry of the key above becomes this one, as in rcl
                entry.name = f'{prefix}.{key.value}'
            value = next(self._events)
            if isinstance(value, yaml.ScalarEvent):
                entry.put(self._scalar(value))
            elif isinstance(value, yaml.SequenceStartEvent):
                entry.put(self._sequence(value))
            elif isinstance(value, yaml.MappingStartEvent):
                inner = entry.name
                self._read_parameters(section, inner)
                # rcl drops only what follows the last dot of the name.
                prefix = prefix and inner.rpartition('.')[0]
            else:
                raise self._error(value, 'an alias', 'a value')
        if is_empty and prefix:
            raise self._error(key=None, found=f'{prefix} without a value', expected='a value')

    def _keys(self) -> Iterator[Any]:
        """Yields the keys of a mapping, while the values between them are read elsewhere."""
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                return
            if not (isinstance(event, yaml.ScalarEvent) and event.value):
                raise self._error(event, 'a key that is no name', 'names as keys')
            yield event

    def _sequence(self, start: Any) -> Given:
        values = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            if not isinstance(event, yaml.ScalarEvent):
                raise self._error(event, 'a list in a list or an alias', 'a list of scalars')
            values.append(self._scalar(event).value)
        try:
            return Given.of(values)
        except TinyBevError as error:
            raise TinyBevError(f'{self._path}, line {_line(start)}: {error}') from None

    def _scalar(self, event: Any) -> Given:
        is_quoted = event.style in ('"', "'")
        if not event.value and not is_quoted:
            raise self._error(event, 'a key without a value', 'a value')
        if is_quoted or event.tag == 'tag:yaml.org,2002:str':
            return Given('STRING', event.value)
        return Given.of(read_scalar(event.value))

    def _error(self, key: Any, found: str, expected: str) -> TinyBevError:
        position = '' if key is None else f', line {_line(key)},'
        return TinyBevError(f'{self._path}{position} has {found}; expected {expected}')


def read_scalar(text: str) -> bool | int | float | str:
    """Returns the value that rcl gives to a scalar without quotes."""
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.fullmatch(text):
        whole = _integer(text)
        if -(2**63) <= whole < 2**63:
            return whole
    number = _double(text)
    return text if number is None else number


def _double(text: str) -> float | None:
    """Returns the number that strtod reads; None for a text, and for one out of range."""
    if _INFINITY.fullmatch(text):
        return -math.inf if text.startswith('-') else math.inf
    if _NAN.fullmatch(text):
        return math.nan
    is_hex = _HEX.fullmatch(text)
    if not (is_hex or _DECIMAL.fullmatch(text)):
        return None
    try:
        value = float.fromhex(text) if is_hex else float(text)
    except OverflowError:
        return None
    is_zero = not re.search('[1-9a-fA-F]', re.split('[pP]' if is_hex else '[eE]', text)[0])
    return value if is_zero or sys.float_info.min <= abs(value) < math.inf else None


def _integer(text: str) -> int:
    digits = text.lstrip('+-')
    base = 16 if digits[:2] in ('0x', '0X') else 8 if digits.startswith('0') else 10
    return int(text, base)


def _kind(value: Any) -> str:
    if type(value) not in _NAMES:
        raise TinyBevError(f'value is {value!r}; expected a boolean, number, text or list')
    return _NAMES[type(value)]


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _matches(pattern: str, node: str) -> bool:
    """Returns True if a name with wildcards is that of a node in the default namespace."""
    parts = {'**': r'(/\w+)*', '*': r'/\w+'}
    tokens = pattern.removeprefix('/').split('/')
    regex = ''.join(parts.get(token, f'/{token}') for token in tokens)
    return re.fullmatch(regex, f'/{node}', re.ASCII) is not None
