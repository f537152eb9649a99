# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Writes the files that list all parameters: run by ``make params``; needs no ROS.

config/params.yaml is for users to copy, config/params.schema.json for editors and tests, and
docs/parameters.md for the documentation. All come from `parameters.NODES`.
"""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from tiny_bev_ros.nodes.parameter_definitions.parameter_type import Parameter
from tiny_bev_ros.nodes.parameters import ALL, NODES, SECTIONS, Group, Section
from tiny_bev_ros.nodes.shipped_weights import flat_parameters
from tiny_bev_ros.resources import CHECKPOINTS, WEIGHTS

COMMAND = 'make params'
# Shipped weights of which the files show the defaults.
_STREET = WEIGHTS[0]
_WIDTH = 99
_NO_BREAK = '\N{NO-BREAK SPACE}'
_YAML_HEAD = f"""\
# yaml-language-server: $schema=params.schema.json
# All parameters of the nodes with their defaults, written by `{COMMAND}`: each node takes its own.
# Those with * change at any time, the others while the node is unconfigured. Keep /** as the top
# key: with another one the parameters do not reach nodes in a namespace.
"""
_MARKDOWN_HEAD = f"""\
<!-- Written by `{COMMAND}` from tiny_bev_ros/nodes/parameters.py: change it there. -->
# Parameters

Copy [config/params.yaml](../config/params.yaml), which lists all parameters with their defaults;
`--help` of a node lists its own. [config/params.schema.json](../config/params.schema.json) lets an
editor check the copy. Its top key must be `/**:`, else it does not reach nodes in a namespace. The
later of two `--params-file` wins. A value of the wrong type or range leaves the node unconfigured,
and its log gives the reason.

**Changes** is when a parameter may be set: at any time, while the node is unconfigured, or only at
its start. With shipped weights, which `weights` takes unless values contradict them, the value
after "{_STREET}:" is the default.
"""
_CHANGES = {'always': 'any time', 'unconfigured': 'unconfigured', 'never': 'start'}
# Parameters that rclpy declares in every node.
_OF_RCLPY: dict[str, Any] = {
    'use_sim_time': {'type': 'boolean'},
    'start_type_description_service': {'type': 'boolean'},
    'qos_overrides': {'type': 'object'},
}
_POSE = {
    'type': 'array',
    'items': {'type': 'number'},
    'minItems': 7,
    'maxItems': 7,
    'description': 'pose [x, y, z, qx, qy, qz, qw] of the optical frame, m',
}


def parameter_files(root: Path) -> dict[Path, str]:
    """Returns the content of each generated file by its path.

    Args:
        root: root of the repository, with the YAML file of the shipped weights.
    """
    street = yaml.safe_load((root / f'config/weights/{_STREET}.yaml').read_text())
    shipped = flat_parameters(street['/**']['ros__parameters'])
    return {
        root / 'config/params.yaml': params_yaml({*shipped, *CHECKPOINTS}),
        root / 'config/params.schema.json': json.dumps(params_schema(), indent=2) + '\n',
        root / 'docs/parameters.md': params_markdown(shipped),
    }


def params_yaml(commented: set[str]) -> str:
    """Returns a parameter file with every parameter and its default.

    Args:
        commented: names of parameters that stand behind a #, as shipped weights set them.
    """
    lines = [line for section in SECTIONS for line in _yaml_section(section, commented)]
    return f'{_YAML_HEAD}/**:\n  ros__parameters:' + '\n'.join(lines) + '\n'


def _yaml_section(section: Section, commented: set[str]) -> list[str]:
    usual = _usual_nodes(section.parameters)
    nodes = '' if len(usual) == len(NODES) else f' ({", ".join(usual)})'
    lines = ['', f'    # --- {section.title}{nodes}', *_comment(section.text, 4)]
    opened: list[str] = []
    for parameter in section.parameters:
        *parents, last = parameter.name.split('.')
        is_off = parameter.name in commented
        for depth, key in enumerate(parents):
            if opened[: depth + 1] != parents[: depth + 1]:
                prefix = '.'.join(parents[: depth + 1]) + '.'
                inside = {each.name for each in section.parameters if each.name.startswith(prefix)}
                lines.append(_yaml_line(f'{key}:', depth, inside <= commented))
        opened, depth = parents, len(parents)
        text = _yaml_text(parameter)
        if _nodes_of(parameter) != usual:
            text += f' [{", ".join(_nodes_of(parameter))}]'
        for line in _comment(text, 2 * depth):
            lines.append(_yaml_line(line.strip(), depth, is_off))
        lines.append(_yaml_line(f'{last}: {_yaml_value(parameter.default)}', depth, is_off))
    return [*lines, *(f'    #{line}' for line in section.example.splitlines())]


def _yaml_line(text: str, depth: int, is_off: bool) -> str:
    """Returns a line at a depth below ros__parameters; behind a #, its indentation stays."""
    return f'    {"#" if is_off else ""}{"  " * depth}{text}'


def _yaml_text(parameter: Parameter) -> str:
    """Returns the comment of a parameter: *, meaning and allowed values."""
    star = '* ' if parameter.changes == 'always' else ''
    allowed = _allowed(parameter).replace(' ', _NO_BREAK)
    return f'{star}{parameter.description}{f" ({allowed})" if allowed else ""}'


def _yaml_value(value: Any) -> str:
    """Returns a value as YAML in one line."""
    return yaml.safe_dump([value], default_flow_style=True, width=10**6).strip()[1:-1]


def _comment(text: str, indent: int) -> list[str]:
    left = f'{" " * indent}# '
    lines = textwrap.wrap(text, _WIDTH, initial_indent=left, subsequent_indent=left)
    return [line.replace(_NO_BREAK, ' ') for line in lines]


def _nodes_of(parameter: Parameter) -> tuple[str, ...]:
    return tuple(name for name, group in NODES.items() if parameter in group)


def _usual_nodes(parameters: Group) -> tuple[str, ...]:
    """Returns the nodes that take most of the parameters."""
    ((usual, _),) = Counter(_nodes_of(each) for each in parameters).most_common(1)
    return usual


def _allowed(parameter: Parameter) -> str:
    """Returns choices or range in words; '' for any value."""
    allowed = [str(choice) for choice in parameter.choices]
    if parameter.low is not None and (parameter.or_number or not allowed):
        allowed.append(f'{parameter.low:.10g} to {parameter.high:.10g}')
    return ' | '.join(allowed)


def params_markdown(shipped: dict[str, Any]) -> str:
    """Returns the page of the documentation: a table for all nodes, then one for each node.

    Args:
        shipped: defaults that shipped weights set, by parameter.
    """
    common = [each for each in ALL.values() if len(_nodes_of(each)) == len(NODES)]
    parts = [_MARKDOWN_HEAD, _table('All nodes', common, shipped)]
    for name, group in NODES.items():
        own = [each for each in group if each not in common]
        parts.append(_table(f'`{name}`', own, shipped))
    return '\n'.join(parts)


def _table(title: str, parameters: list[Parameter], shipped: dict[str, Any]) -> str:
    lines = [f'## {title}', '', '| parameter | type | default | allowed | changes | meaning |']
    lines.append('|---|---|---|---|---|---|')
    for each in parameters:
        default = f'`{_yaml_value(each.default)}`'
        if each.name in shipped and shipped[each.name] != each.default:
            default += f'; {_STREET}: `{_yaml_value(shipped[each.name])}`'
        cells = (f'`{each.name}`', type_name(each), default, _allowed(each).replace(' | ', ', '),
                 _CHANGES[each.changes], each.description)  # fmt: skip
        lines.append('| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |')
    if any(each.name == 'cameras' for each in parameters):
        lines.append(
            '| `extrinsics.NAME` | float array | from TF | 7 numbers | unconfigured | pose [x, y, '
            "z, qx, qy, qz, qw] of the optical frame of camera NAME in the grid's frame, m |"
        )
    return '\n'.join(lines) + '\n'


def type_name(parameter: Parameter) -> str:
    """Returns the type of a parameter in words, such as ``float array``."""
    default = parameter.default
    if isinstance(default, list):
        return f'{_scalar_name(default[0])} array'
    return _scalar_name(default) + (' or float' if parameter.or_number else '')


def _scalar_name(value: Any) -> str:
    return {bool: 'bool', int: 'int', float: 'float', str: 'string'}[type(value)]


def params_schema() -> dict[str, Any]:
    """Returns the JSON schema (draft 7, as Autoware's parameter schemas) of parameter files.

    The key /** takes the parameters of all nodes, the name of a node those of that node. Keys of
    other nodes are not checked.
    """
    leaves = {name: _schema_of(parameter) for name, parameter in ALL.items()}
    nodes = {name: _schema_tree(group) for name, group in NODES.items()}
    return {
        '$schema': 'http://json-schema.org/draft-07/schema#',
        '$comment': f'Written by `{COMMAND}`.',
        'title': 'Parameters of the nodes of tiny_bev_ros',
        'type': 'object',
        'definitions': {**leaves, **nodes, 'all_nodes': _schema_tree(tuple(ALL.values()))},
        'properties': {'/**': _schema_file('all_nodes')},
        'patternProperties': {f'^(.*/)?{name}$': _schema_file(name) for name in NODES},
    }


def _schema_file(definition: str) -> dict[str, Any]:
    return {
        'type': 'object',
        'properties': {'ros__parameters': {'$ref': f'#/definitions/{definition}'}},
        'required': ['ros__parameters'],
        'additionalProperties': False,
    }


def _schema_tree(parameters: Group) -> dict[str, Any]:
    """Returns the nested objects of dotted names, each with a reference to its definition."""
    root: dict[str, Any] = _schema_object(dict(_OF_RCLPY))
    if any(parameter.name == 'cameras' for parameter in parameters):
        root['properties']['extrinsics'] = {'type': 'object', 'additionalProperties': _POSE}
    for parameter in parameters:
        *parents, last = parameter.name.split('.')
        properties = root['properties']
        for key in parents:
            properties = properties.setdefault(key, _schema_object({}))['properties']
        properties[last] = {'$ref': f'#/definitions/{parameter.name}'}
    return root


def _schema_object(properties: dict[str, Any]) -> dict[str, Any]:
    return {'type': 'object', 'properties': properties, 'additionalProperties': False}


def _schema_of(parameter: Parameter) -> dict[str, Any]:
    names = {'bool': 'boolean', 'int': 'integer', 'float': 'number', 'string': 'string'}
    value: dict[str, Any] = {'type': names[type_name(parameter).split()[0]]}
    if parameter.choices:
        value['enum'] = list(parameter.choices)
    limits = {} if parameter.low is None else {'minimum': parameter.low, 'maximum': parameter.high}
    if parameter.or_number:
        value = {'anyOf': [value, {'type': 'number', **limits}]}
    else:
        value |= limits
    if isinstance(parameter.default, list):
        value = {'type': 'array', 'items': value}
        if parameter.choices:
            value['uniqueItems'] = True
    return {**value, 'default': parameter.default, 'description': parameter.description}


def main() -> None:
    """Writes the files below the current folder, the root of the repository."""
    for path, text in parameter_files(Path.cwd()).items():
        path.write_text(text, encoding='utf-8')
        print(path.relative_to(Path.cwd()))


if __name__ == '__main__':
    main()
