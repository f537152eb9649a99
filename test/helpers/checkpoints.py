# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Small networks, files of their weights, and messages of refused files."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models import PillarFeatureNet, TinyBEVBackbone, seeded


def make_pfn(seed=0, in_channels=10):
    with seeded(seed):
        net = PillarFeatureNet(in_channels, 8)
        torch.nn.init.uniform_(net.norm.running_mean)
    return net


def make_backbone(seed=0):
    with seeded(seed):
        return TinyBEVBackbone(4, 4, 6)


def below(prefix, state):
    return {prefix + key: value for key, value in state.items()}


def save(folder, content, name='weights.pt'):
    path = folder / name
    if path.suffix == '.safetensors':
        safetensors.torch.save_file(content, path)
    else:
        torch.save(content, path)
    return path


def same(first, second):
    other = second.state_dict()
    return all(torch.equal(value, other[key]) for key, value in first.state_dict().items())


def refusal(loader, model, path):
    """Returns the message with which a file is refused; checks that the model is unchanged."""
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(TinyBevError) as error:
        loader(model, path)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    message = str(error.value)
    assert '\n' not in message
    assert str(path) in message
    return message
