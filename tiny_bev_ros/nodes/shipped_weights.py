# SPDX-License-Identifier: Apache-2.0
"""Shipped weights for nodes: their network and map are defaults of other parameters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tiny_bev_ros.resources import CHECKPOINTS, WEIGHTS, config_file, weights_file

# `auto` takes these unless a given value says otherwise.
AUTO = WEIGHTS[0]
# Other values of these go with the same weights: where the map ends, and fewer heads.
_FREE = ('grid.x_range', 'grid.y_range', 'heads.names')


class Shipped(NamedTuple):
    """Weights that a node takes.

    Attributes:
        name: of WEIGHTS, or 'none'.
        reason: why `auto` takes none; '' where it takes some or was not asked.
        defaults: of parameters, by name.
    """

    name: str
    reason: str = ''
    defaults: Mapping[str, Any] = {}


def choose(asked: str, given: Mapping[str, Any]) -> Shipped:
    """The weights for what the parameter `weights` asks.

    Args:
        asked: a name of WEIGHTS, 'none' or 'auto'.
        given: values by parameter, of all that the user gave.
    """
    name = AUTO if asked == 'auto' else asked
    if name not in WEIGHTS:
        return Shipped('none')
    defaults = defaults_of(name)
    for each in defaults if asked == 'auto' else ():
        if each in given and each not in _FREE and given[each] != defaults[each]:
            reason = f'{each} is {given[each]!r}; {name} has {defaults[each]!r}'
            return Shipped('none', reason)
    return Shipped(name, '', defaults)


def defaults_of(name: str) -> dict[str, Any]:
    """Values of config/weights_<name>.yaml by parameter, and the file of each checkpoint."""
    content = yaml.safe_load(Path(config_file(f'weights_{name}.yaml')).read_text())
    values = _flat(content['/**']['ros__parameters'], '')
    return {**values, **dict.fromkeys(CHECKPOINTS, weights_file(name))}


def _flat(tree: dict[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f'{prefix}{key}'
        flat |= _flat(value, f'{name}.') if isinstance(value, dict) else {name: value}
    return flat
