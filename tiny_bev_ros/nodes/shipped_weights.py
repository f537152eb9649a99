# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Choice of shipped weights: their networks and grid become defaults of other parameters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tiny_bev_ros.resources import CHECKPOINTS, WEIGHTS, config_file, weights_file

# Weights that `auto` takes unless a given value contradicts them.
AUTO = WEIGHTS[0]
# Parameters whose other values fit the same weights: extent of the grid, and fewer heads.
_FREE = ('grid.x_range', 'grid.y_range', 'heads.names')


class Shipped(NamedTuple):
    """Shipped weights that a node takes.

    Attributes:
        name: name in WEIGHTS, or 'none'.
        reason: reason for which `auto` takes none; '' where it takes some or was not requested.
        defaults: default values by parameter.
    """

    name: str
    reason: str = ''
    defaults: Mapping[str, Any] = {}


def choose(requested: str, given: Mapping[str, Any]) -> Shipped:
    """Returns the weights for a value of the parameter `weights`.

    Args:
        requested: name in WEIGHTS, 'none' or 'auto'.
        given: values by parameter, for each parameter that the user set.
    """
    name = AUTO if requested == 'auto' else requested
    if name not in WEIGHTS:
        return Shipped('none')
    defaults = defaults_of(name)
    for each in defaults if requested == 'auto' else ():
        if each in given and each not in _FREE and given[each] != defaults[each]:
            reason = f'{each} is {given[each]!r}; {name} has {defaults[each]!r}'
            return Shipped('none', reason)
    return Shipped(name, '', defaults)


def defaults_of(name: str) -> dict[str, Any]:
    """Returns the values of config/weights/<name>.yaml, and the file of each checkpoint."""
    content = yaml.safe_load(Path(config_file(f'weights/{name}.yaml')).read_text())
    values = flat_parameters(content['/**']['ros__parameters'])
    return {**values, **dict.fromkeys(CHECKPOINTS, weights_file(name))}


def flat_parameters(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """Returns the values of nested mappings by dotted name."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f'{prefix}{key}'
        flat |= flat_parameters(value, f'{name}.') if isinstance(value, Mapping) else {name: value}
    return flat
