# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Registry of backbones by name.

A backbone is a ``torch.nn.Module`` that takes (B, in_channels, H, W) to
(B, out_channels, h, w) and has the attributes

- ``in_channels``, ``out_channels``: int;
- ``feature_info``: tuple of FeatureInfo, in the order of computation; the last one describes the
  output of ``forward``, with h = ceil(H / stride) and w = ceil(W / stride).

A backbone that begins with a chain of convolutions may keep it in its submodule ``chain`` and the
rest in a method ``after_chain``: the chain is then computed sparsely, only at active sites.

The keyword arguments of its constructor are its configuration; nodes and training set
``in_channels``, ``mid_channels`` and ``out_channels``.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import nn

from tiny_bev_ros.errors import TinyBevError

_Class = TypeVar('_Class', bound=type)
_BACKBONES: dict[str, type[nn.Module]] = {}


def register_in(classes: dict[str, Any], kind: str, name: str) -> Callable[[_Class], _Class]:
    """Class decorator of a registry: keeps a class under a name that is new.

    Args:
        classes: registered classes by name.
        kind: kind of the classes, for the error.
        name: name of the class.

    Raises:
        TinyBevError: the name is taken.
    """

    def register(new: _Class) -> _Class:
        if name in classes:
            raise TinyBevError(f'{kind} name is {name!r}, which is taken; expected a new one')
        classes[name] = new
        return new

    return register


@dataclass(frozen=True)
class FeatureInfo:
    """Description of one feature map of a backbone.

    Attributes:
        name: name of the submodule that computes the map.
        channels: number of channels of the map.
        stride: number of input cells per output cell, along both axes.
    """

    name: str
    channels: int
    stride: int


def register_backbone(name: str) -> Callable[[_Class], _Class]:
    """Class decorator: registers a backbone under a name.

    Raises:
        TinyBevError: the name is taken.
    """
    return register_in(_BACKBONES, 'backbone', name)


def list_backbones() -> list[str]:
    """Returns the names of all registered backbones, sorted."""
    return sorted(_BACKBONES)


def build_backbone(name: str, **config: Any) -> nn.Module:
    """Builds a backbone with freshly initialised weights.

    Args:
        name: one of `list_backbones`.
        **config: keyword arguments of its constructor; others keep their defaults.

    Raises:
        TinyBevError: the name or a keyword is unknown, or a value is not allowed.
    """
    if name not in _BACKBONES:
        raise TinyBevError(_unknown_message('backbone name', name, list_backbones()))
    backbone = _BACKBONES[name]
    keywords = list(inspect.signature(backbone).parameters)
    for keyword in config:
        if keyword not in keywords:
            raise TinyBevError(_unknown_message(f'option of backbone {name!r}', keyword, keywords))
    return backbone(**config)


def _unknown_message(field: str, value: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(value), list(known), n=1)
    hint = f' (did you mean {close[0]}?)' if close else ''
    return f'{field} is {value!r}; expected one of {", ".join(known)}{hint}'
