# SPDX-License-Identifier: Apache-2.0
"""Finds the weights of a network among the keys of a file, whatever is wrapped around them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.checkpoint.inert_pickle import Unread
from tiny_bev_ros.models.checkpoint.weight_files import shown

# Words that torch.compile, DataParallel, AveragedModel, FSDP, activation checkpoints and DeepSpeed
# put into names, also in their middle.
_WRAPPERS = {
    '_orig_mod',
    'module',
    '_fsdp_wrapped_module',
    '_checkpoint_wrapped_module',
    '_forward_module',
}
# Words of a key that are looked at: a file may claim millions.
_WORDS = 32
# Faults that are named; the rest is counted.
_NAMED = 5


class Part(NamedTuple):
    """Keys of a file below one place in it.

    Attributes:
        place: where, with a dot at its end: 'model.backbone.'; '' for the outermost keys.
        values: by the rest of the key.
    """

    place: str
    values: dict[str, Any]


def find_part(
    path: str | Path,
    maps: Mapping[str, Mapping[str, Any]],
    own: Mapping[str, Tensor],
    *,
    adapt: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    others: bool = False,
) -> Part:
    """The weights of a network, wherever they are in a file.

    Names that wrappers put into keys are left out, and any words may stand before the network's
    own. Single numbers beside its keys, as counters of trainers, are left out too.

    Args:
        path: of the file, for messages.
        maps: dicts of tensors by their place, as `read_weights` gives them.
        own: the network's state_dict.
        adapt: brings what was found into the network's form.
        others: whether parts with other names may lie beside the network's.

    Raises:
        TinyBevError: there are none, or two that differ, or they are not those of the network.
    """
    best: tuple[int, str, list[str]] | None = None
    fitting: list[Part] = []
    for part in _candidates(path, maps, own, others):
        values = adapt(part.values)
        for key, value in own.items():
            # A mere counter, which older files lack and evaluation does not use.
            if key.endswith('num_batches_tracked'):
                values.setdefault(key, value)
        known = own.keys() & values.keys()
        faults = _faults(part.place, values, own)
        if not faults:
            fitting.append(Part(part.place, values))
        elif best is None or (-len(known), part.place) < best[:2]:
            best = -len(known), part.place, faults
    if not fitting:
        raise misfit(path, best[2]) if best else _nothing(path, maps, own)
    first, *more = sorted(fitting)
    differing = [part.place for part in more if not _equal(part.values, first.values)]
    if differing:
        places = ' and '.join(place or 'nothing' for place in [first.place, *differing])
        raise TinyBevError(
            f'{path} holds such weights {len(differing) + 1} times, below {shown(places)}; '
            'expected them once: save those alone that are wanted'
        )
    return first


def _candidates(
    path: str | Path,
    maps: Mapping[str, Mapping[str, Any]],
    own: Mapping[str, Tensor],
    others: bool,
) -> Iterable[Part]:
    """All parts of a file in which a key begins as one of the network's."""
    first = {key.partition('.')[0] for key in own}
    wrappers = _WRAPPERS - {word for key in own for word in key.split('.')}
    for where, values in maps.items():
        parts: dict[str, dict[str, Any]] = {}
        keys = _without(wrappers, path, values)
        for words in keys:
            for index, word in enumerate(words):
                if word in first:
                    parts.setdefault('.'.join([*words[:index], '']) if index else '', {})
        for words, value in keys.items():
            for index, word in enumerate(words):
                place = '.'.join([*words[:index], '']) if index else ''
                if place in parts and (word in first or not others):
                    rest = '.'.join(words[index:])
                    if rest in own or not _is_counter(rest, value):
                        parts[place][rest] = value
        yield from (Part(where + place, part) for place, part in parts.items())


def _without(
    wrappers: set[str], path: str | Path, values: Mapping[str, Any]
) -> dict[tuple[str, ...], Any]:
    """Keys as words, without those of wrappers."""
    plain: dict[tuple[str, ...], Any] = {}
    from_keys: dict[tuple[str, ...], str] = {}
    for key, value in values.items():
        words = tuple(word for word in key.split('.', _WORDS) if word not in wrappers)
        if words in plain:
            raise TinyBevError(
                f'{path} holds {shown(from_keys[words])} and {shown(key)}, which differ in '
                'wrappers alone; expected one of them'
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


def _faults(place: str, values: Mapping[str, Any], own: Mapping[str, Tensor]) -> list[str]:
    """Reasons for which values are not those of a network."""
    faults = [f'missing {shown(place + key)}' for key in own if key not in values]
    faults += [f'unexpected {shown(place + key)}' for key in values if key not in own]
    for key in own.keys() & values.keys():
        fault = _fault(values[key], own[key])
        if fault:
            faults.append(f'{shown(place + key)} {fault}')
    return sorted(faults)


def misfit(path: str | Path, faults: list[str]) -> TinyBevError:
    """An error that names the first faults and counts the others."""
    more = f'; and {len(faults) - _NAMED} more' if len(faults) > _NAMED else ''
    return TinyBevError(f'{path} does not fit the model: {"; ".join(faults[:_NAMED])}{more}')


def _nothing(
    path: str | Path, maps: Mapping[str, Mapping[str, Any]], own: Mapping[str, Tensor]
) -> TinyBevError:
    words: dict[str, str] = {}
    for where, values in maps.items():
        for key, value in values.items():
            what = ''
            if isinstance(value, Unread):
                what = f' (a pickled {shown(value.name)}, of which nothing is run)'
            words[where + key.partition('.')[0]] = what
    some = ', '.join(shown(word) + words[word] for word in sorted(words)[:8])
    first = sorted({key.partition('.')[0] for key in own})
    return TinyBevError(
        f'{path} has keys below {some or "nothing"}: none of the expected keys below '
        f'{", ".join(first[:8])}'
    )


def _fault(value: Any, own: Tensor) -> str:
    """The fault in the kind of a value; '' for none."""
    if isinstance(value, Unread):
        return f'is a {shown(value.name)}; expected an ordinary tensor'
    if not isinstance(value, Tensor):
        return f'is a {type(value).__name__}; expected a tensor'
    if value.shape != own.shape:
        return f'has shape {tuple(value.shape)}; expected {tuple(own.shape)}'
    if value.is_floating_point() != own.is_floating_point():
        return f'is {value.dtype}; expected {own.dtype}'
    return ''
