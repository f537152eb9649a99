# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Values that a node has with parameter files, read without ROS: the nodes' YAML for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.model_builder import LOGGER, Logger
from tiny_bev_ros.nodes.parameters import ALL, NODES
from tiny_bev_ros.nodes.rcl_yaml import Given, ParameterSections
from tiny_bev_ros.nodes.start_values import StartValues
from tiny_bev_ros.nodes.trained_weights import trained_defaults
from tiny_bev_ros.resources import find_weights

_NOTHING: Mapping[str, Any] = {}
_WEIGHTS = ALL['weights'].choices


def read_parameters(
    node: str,
    files: Sequence[str | Path],
    given: Mapping[str, Any] = _NOTHING,
    *,
    weights: str | Path = '',
    logger: Logger = LOGGER,
) -> dict[str, Any]:
    """Returns the values of a node that starts with parameter files, in the default namespace.

    Args:
        node: name of the node, such as pipeline_node.
        files: paths, in the order of `--params-file`.
        given: values by name, as of `-p NAME:=VALUE`.
        weights: a value of the parameter `weights`, or the path of a weight file of `train`,
            whose networks and grid become defaults as those of shipped weights do; '' leaves the
            choice to the files.
        logger: receives a line for each name that is not known, and for `weights: auto` that
            takes none.

    Raises:
        TinyBevError: a file cannot be read, or a value is not allowed, for the reasons and with
            the messages of the node; or a file overrides a given value.
    """
    sections, trained = ParameterSections(), None
    if weights in _WEIGHTS:
        given = {**given, 'weights': weights}
    elif weights:
        trained = trained_defaults(find_weights(weights))
        given = {**given, 'weights': 'none'}
    for path in files:
        sections.add_file(path)
    typed = {name: _typed(name, value) for name, value in given.items()}
    for name, each in typed.items():
        sections.add_given(name, each)
    found = sections.of_node(node)
    for name, each in typed.items():
        if found[name] != each:
            raise TinyBevError(
                f'parameter {name} is {found[name].value!r} by a parameter file, which ROS ranks '
                f'above the given {each.value!r}; expected one of the two'
            )
    start = StartValues(NODES[node], found, trained)
    for line in start.unknown():
        logger.warning(line)
    if start.shipped.reason:
        logger.info(f'weights: none, as {start.shipped.reason}')
    start.check()
    return start.values


def refuse_foreign_files(node: str, files: Sequence[str | Path]) -> None:
    """Refuses files without a section that applies to a node, for programs that start no others.

    A node takes its defaults then, as the file may be for other nodes.

    Args:
        node: name of the node, in the default namespace.
        files: paths.

    Raises:
        TinyBevError: all sections of a file are of other names or namespaces, or the file cannot
            be read.
    """
    for path in files:
        sections = ParameterSections()
        sections.add_file(path)
        sections.refuse_foreign(node, path)


def _typed(name: str, value: Any) -> Given:
    try:
        return Given.of(value)
    except TinyBevError as error:
        raise TinyBevError(f'parameter {name}: {error}') from None
