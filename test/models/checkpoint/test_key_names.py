# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Weights are found under any prefix, container or wrapper."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models import (
    TinyBEVBackbone,
    build_backbone,
    list_backbones,
    load_backbone,
    load_heads,
    seeded,
)
from tiny_bev_ros.models.checkpoint.key_names import _WRAPPERS
from tiny_bev_ros.models.heads.head_registry import build_heads


def make(seed):
    with seeded(seed):
        return TinyBEVBackbone(4, 4, 6)


def below(prefix, state):
    return {prefix + key: value for key, value in state.items()}


def same(first, second):
    other = second.state_dict()
    return all(torch.equal(value, other[key]) for key, value in first.state_dict().items())


class Holder(nn.Module):
    def __init__(self, inside, name='model'):
        super().__init__()
        setattr(self, name, inside)


def compiled_parts(net):
    net.block1, net.down = torch.compile(net.block1), torch.compile(net.down)
    return net


WRAPPED = {
    'compiled': torch.compile,
    'DataParallel': nn.DataParallel,
    'compiled DataParallel': lambda net: nn.DataParallel(torch.compile(net)),
    'DataParallel, compiled': lambda net: torch.compile(nn.DataParallel(net)),
    'compiled parts': compiled_parts,
    'average of a compiled one, with its counter': lambda net: AveragedModel(torch.compile(net)),
    'Lightning': Holder,
    'nested': lambda net: Holder(Holder(nn.DataParallel(net), 'net'), 'ema_model'),
}


@pytest.mark.parametrize('container', ['', 'state_dict', 'model_state', 'ema', 'weights', 'a b'])
@pytest.mark.parametrize('how', WRAPPED)
def test_wrappers_and_containers_do_not_matter(tmp_path, how, container):
    source, target = make(1), make(2)
    state = WRAPPED[how](make(1)).state_dict()
    assert set(state) != set(source.state_dict())
    path = tmp_path / 'weights.pt'
    torch.save({container: state, 'epoch': 3} if container else state, path)
    load_backbone(target, path)
    assert same(source, target)


@pytest.mark.parametrize(
    'prefix',
    [
        'module.',
        '_orig_mod.',
        'module._orig_mod.',
        'state_dict.model.',
        '_forward_module.net.',
        'student.backbone._fsdp_wrapped_module.',
        'detector.backbone._checkpoint_wrapped_module.',
    ],
)
def test_prefixes_with_other_parts_and_counters_beside(tmp_path, prefix):
    source, target = make(1), make(2)
    state = below(prefix, source.state_dict())
    state |= {'n_averaged': torch.tensor(7), 'step': torch.tensor([3]), 'decay': 0.99}
    if {'model', 'net', 'backbone'} & set(
        prefix.split('.')
    ):  # otherwise these keys would count as the network's
        state |= {'criterion.weight': torch.ones(5), 'other.stem.0.weight': torch.ones(1, 2)}
    torch.save(state, tmp_path / 'weights.pt')
    load_backbone(target, tmp_path / 'weights.pt')
    assert same(source, target)


def test_wrappers_on_a_part_of_the_keys(tmp_path):
    source, target = make(1), make(2)
    state = {
        (f'module.{key}' if number % 2 else key): value
        for number, (key, value) in enumerate(source.state_dict().items())
    }
    torch.save(state, tmp_path / 'weights.pt')
    load_backbone(target, tmp_path / 'weights.pt')
    assert same(source, target)


@pytest.mark.parametrize('name', list_backbones())
def test_no_backbone_has_names_as_of_wrappers(name):
    words = {word for key in build_backbone(name).state_dict() for word in key.split('.')}
    assert not words & _WRAPPERS


def refusal(tmp_path, content):
    path = tmp_path / 'weights.pt'
    torch.save(content, path)
    target = make(3)
    with pytest.raises(TinyBevError) as error:
        load_backbone(target, path)
    assert same(target, make(3))
    message = str(error.value).replace(str(path), 'FILE')
    assert message.isprintable()
    return message


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (
            lambda: below('model.', make(1).state_dict()) | below('ema.', make(2).state_dict()),
            'holds such weights 2 times, below ema. and model.; expected them once',
        ),
        (
            lambda: {'model': make(1).state_dict(), 'ema': make(2).state_dict()},
            'holds such weights 2 times, below ema. and model.; expected them once',
        ),
        (
            lambda: make(1).state_dict() | below('module.', make(2).state_dict()),
            'holds stem.0.weight and module.stem.0.weight, which differ in wrappers alone',
        ),
    ],
)
def test_ambiguous_files_are_refused(tmp_path, content, words):
    assert words in refusal(tmp_path, content())


def test_the_same_weights_twice_are_not_ambiguous(tmp_path):
    source, target = make(1), make(2)
    state = below('model.backbone.', source.state_dict()) | below('net.', source.state_dict())
    torch.save(state, tmp_path / 'weights.pt')
    load_backbone(target, tmp_path / 'weights.pt')
    assert same(source, target)


def test_hundreds_of_wrong_keys_make_one_short_line(tmp_path):
    state = make(1).state_dict()
    state |= {f'block1.{number}.some.long.name.weight': torch.ones(2) for number in range(500)}
    message = refusal(tmp_path, state)
    assert message.count('unexpected') == 5
    assert message.endswith('; and 495 more')
    assert len(message) < 500


@pytest.mark.parametrize('key', ['stem.' + 'x' * 10**5, 'stem.\n[ERROR] all is lost', '.' * 10**5])
def test_names_of_a_file_do_not_flood_or_forge_a_log(tmp_path, key):
    message = refusal(tmp_path, {**make(1).state_dict(), key: torch.ones(2)})
    assert len(message) < 500


def test_heads_below_any_prefix(tmp_path):
    with seeded(1):
        source = build_heads(('detection', 'drivable'), 8)
    with seeded(2):
        target = build_heads(('drivable',), 8)
    state = below('model._orig_mod.heads.', source.state_dict())
    torch.save({'state_dict': state, 'epoch': 4}, tmp_path / 'weights.pt')
    load_heads(target, tmp_path / 'weights.pt')
    assert same(target, nn.ModuleDict({'drivable': source['drivable']}))
