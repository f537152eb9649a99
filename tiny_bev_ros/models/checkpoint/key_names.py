# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Search for the weights of a network among the keys of a file, under any prefix or wrapper."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.checkpoint.inert_pickle import Unread
from tiny_bev_ros.models.checkpoint.weight_files import printable

# Words that torch.compile, DataParallel, AveragedModel, FSDP, activation checkpoints and DeepSpeed
# insert into names, also in the middle.
_WRAPPERS = {
    '_orig_mod',
    'module',
    '_fsdp_wrapped_module',
    '_checkpoint_wrapped_module',
    '_forward_module',
}
# Words of a key that are split off at most, as a file may hold keys of millions of words.
_MAX_WORDS = 32
# Values that a file may lack, by the end of their key, and the default of each: a counter that
# evaluation does not use, and the calibration of scores, by default the identity.
_DEFAULTS: dict[str, Callable[[Tensor], Tensor]] = {
    'num_batches_tracked': torch.clone,
    'calibration.scale': torch.ones_like,
    'calibration.bias': torch.zeros_like,
}
# Faults that a message lists; the rest is counted.
_LISTED = 5


class Part(NamedTuple):
    """Values of a file below one prefix.

    Attributes:
        prefix: prefix with a dot at its end, such as 'model.backbone.'; '' for outermost keys.
        values: values by the rest of their key.
    """

    prefix: str
    values: dict[str, Any]


def find_part(
    path: str | Path,
    maps: Mapping[str, Mapping[str, Any]],
    own: Mapping[str, Tensor],
    *,
    adapt: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    others: bool = False,
) -> Part:
    """Finds the weights of a network in a file.

    Words that wrappers insert into keys are dropped, and a prefix of any words may precede the
    network's own keys. Single numbers, such as counters of trainers, are dropped too.

    Args:
        path: path of the file, for messages.
        maps: dicts of tensors by their prefix, as `read_weights` returns them.
        own: state_dict of the network.
        adapt: function that converts found values to the network's form.
        others: True if the file may hold further keys beside the network's, such as other heads.

    Returns:
        The prefix and the values, with exactly the keys of ``own``.

    Raises:
        TinyBevError: the file has no such weights or several that differ, or they do not fit the
            network.
    """
    best: tuple[int, str, list[str]] | None = None
    fitting: list[Part] = []
    for part in _candidates(path, maps, own, others):
        values = adapt(part.values)
        for key, value in own.items():
            for end, default in _DEFAULTS.items():
                if key.endswith(end):
                    values.setdefault(key, default(value))
        known = own.keys() & values.keys()
        faults = _faults(part.prefix, values, own)
        if not faults:
            fitting.append(Part(part.prefix, values))
        elif best is None or (-len(known), part.prefix) < best[:2]:
            best = -len(known), part.prefix, faults
    if not fitting:
        raise mismatch_error(path, best[2]) if best else _not_found_error(path, maps, own)
    first, *more = sorted(fitting)
    differing = [part.prefix for part in more if not _equal(part.values, first.values)]
    if differing:
        prefixes = ' and '.join(prefix or 'nothing' for prefix in [first.prefix, *differing])
        raise TinyBevError(
            f'{path} holds such weights {len(differing) + 1} times, below {printable(prefixes)}; '
            'expected them once: save only the wanted ones'
        )
    return first


def _candidates(
    path: str | Path,
    maps: Mapping[str, Mapping[str, Any]],
    own: Mapping[str, Tensor],
    others: bool,
) -> Iterable[Part]:
    """Yields the parts of a file with a key that begins like one of the network's."""
    first = {key.partition('.')[0] for key in own}
    wrappers = _WRAPPERS - {word for key in own for word in key.split('.')}
    for where, values in maps.items():
        parts: dict[str, dict[str, Any]] = {}
        keys = _split_keys(wrappers, path, values)
        for words in keys:
            for index, word in enumerate(words):
                if word in first:
                    parts.setdefault('.'.join([*words[:index], '']) if index else '', {})
        for words, value in keys.items():
            for index, word in enumerate(words):
                prefix = '.'.join([*words[:index], '']) if index else ''
                if prefix in parts and (word in first or not others):
                    rest = '.'.join(words[index:])
                    if rest in own or not _is_counter(rest, value):
                        parts[prefix][rest] = value
        yield from (Part(where + prefix, part) for prefix, part in parts.items())


def _split_keys(
    wrappers: set[str], path: str | Path, values: Mapping[str, Any]
) -> dict[tuple[str, ...], Any]:
    """Splits keys into words and drops those of wrappers."""
    plain: dict[tuple[str, ...], Any] = {}
    from_keys: dict[tuple[str, ...], str] = {}
    for key, value in values.items():
        words = tuple(word for word in key.split('.', _MAX_WORDS) if word not in wrappers)
        if words in plain:
            raise TinyBevError(
                f'{path} holds {printable(from_keys[words])} and {printable(key)}, which differ '
                'in wrappers alone; expected one of them'
            )
        plain[words], from_keys[words] = value, key
    return plain


def _is_counter(key: str, value: Any) -> bool:
    return '.' not in key and (not isinstance(value, Tensor) or value.numel() == 1)


def _equal(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    return all(
        value.dtype == second[key].dtype and torch.equal(value, second[key])
        for key, value in first.items()
    )


def _faults(prefix: str, values: Mapping[str, Any], own: Mapping[str, Tensor]) -> list[str]:
    """Lists the differences between found values and those of a network."""
    faults = [f'missing {printable(prefix + key)}' for key in own if key not in values]
    faults += [f'unexpected {printable(prefix + key)}' for key in values if key not in own]
    for key in own.keys() & values.keys():
        fault = _fault(values[key], own[key])
        if fault:
            faults.append(f'{printable(prefix + key)} {fault}')
    return sorted(faults)


def mismatch_error(path: str | Path, faults: list[str]) -> TinyBevError:
    """Returns the error that lists the first faults and counts the others."""
    more = f'; and {len(faults) - _LISTED} more' if len(faults) > _LISTED else ''
    return TinyBevError(f'{path} does not fit the model: {"; ".join(faults[:_LISTED])}{more}')


def _not_found_error(
    path: str | Path, maps: Mapping[str, Mapping[str, Any]], own: Mapping[str, Tensor]
) -> TinyBevError:
    words: dict[str, str] = {}
    for where, values in maps.items():
        for key, value in values.items():
            note = ''
            if isinstance(value, Unread):
                note = f' (a pickled {printable(value.name)}, of which nothing is run)'
            words[where + key.partition('.')[0]] = note
    some = ', '.join(printable(word) + words[word] for word in sorted(words)[:8])
    first = sorted({key.partition('.')[0] for key in own})
    return TinyBevError(
        f'{path} has keys below {some or "nothing"}: none of the expected keys below '
        f'{", ".join(first[:8])}'
    )


def _fault(value: Any, own: Tensor) -> str:
    """Returns the fault in type, shape or dtype of a value; '' for none."""
    if isinstance(value, Unread):
        return f'is a {printable(value.name)}; expected an ordinary tensor'
    if not isinstance(value, Tensor):
        return f'is a {type(value).__name__}; expected a tensor'
    if value.shape != own.shape:
        return f'has shape {tuple(value.shape)}; expected {tuple(own.shape)}'
    if value.is_floating_point() != own.is_floating_point():
        return f'is {value.dtype}; expected {own.dtype}'
    return ''
