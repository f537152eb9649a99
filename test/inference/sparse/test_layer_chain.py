# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import pytest
import torch
from shaken_networks import Residual, shaken
from torch import nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.sparse.layer_chain import as_chain
from tiny_bev_ros.models import build_backbone, list_backbones, seeded


@pytest.mark.parametrize('name', list_backbones())
def test_the_chain_of_a_backbone_equals_its_network(name: str):
    with seeded(0):
        network = shaken(build_backbone(name))
    network = getattr(network, 'chain', network)  # The part that is a chain.
    x = torch.randn(1, 64, 13, 18)
    y = x
    for layer in as_chain(network):
        y = layer(y)
    with torch.no_grad():
        torch.testing.assert_close(y, network(x), atol=1e-5, rtol=1e-5)


def test_layers_without_bias_batch_norm_or_relu():
    network = shaken(
        nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4, affine=False),
            nn.Conv2d(4, 5, 1),
            nn.ReLU(),
            nn.Conv2d(5, 2, 3, 2, 1),
        )
    )
    chain = as_chain(network)
    assert [layer.relu for layer in chain] == [False, True, False]
    x = torch.randn(1, 3, 9, 9)
    y = x
    for layer in chain:
        y = layer(y)
    with torch.no_grad():
        torch.testing.assert_close(y, network(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ('network', 'reason'),
    [
        (Residual(), 'does not compute its convolutions in sequence'),
        (nn.Sequential(nn.Conv2d(4, 4, 5, padding=2)), 'expected a 1x1 or 3x3'),
        (nn.Sequential(nn.Conv2d(4, 4, 3)), 'expected a 1x1 or 3x3'),
        (nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=2)), 'expected a 1x1 or 3x3'),
        (nn.Sequential(nn.Conv2d(4, 4, 1), nn.GELU()), '1 is a GELU'),
        (nn.Sequential(nn.ReLU()), '0 is a ReLU'),
    ],
)
def test_other_networks_are_refused(network: nn.Module, reason: str):
    with pytest.raises(TinyBevError, match=reason):
        as_chain(network.eval())


def test_train_mode_is_refused():
    with pytest.raises(TinyBevError, match='train mode'):
        as_chain(build_backbone('tiny'))
