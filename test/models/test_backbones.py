# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Requirements on every registered backbone, and the parameters of TinyBEVBackbone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tiny_bev_ros.models import TinyBEVBackbone, build_backbone, list_backbones, seeded

every_backbone = pytest.mark.parametrize('name', list_backbones())


def build(name, **config):
    with seeded(0):
        return build_backbone(name, **config)


def image(batch, channels, rows, cols, seed=1):
    return torch.randn(batch, channels, rows, cols, generator=torch.Generator().manual_seed(seed))


@every_backbone
@pytest.mark.parametrize(('rows', 'cols'), [(16, 24), (17, 24), (16, 23), (9, 7), (1, 1)])
def test_the_output_has_the_shape_of_feature_info(name, rows, cols):
    backbone = build(name).eval()
    with torch.inference_mode():
        output = backbone(image(1, backbone.in_channels, rows, cols))
    info = backbone.feature_info[-1]
    assert output.shape == (1, info.channels, -(-rows // info.stride), -(-cols // info.stride))
    assert info.channels == backbone.out_channels
    assert output.dtype == torch.float32
    assert output.isfinite().all()


@every_backbone
def test_every_feature_is_the_output_of_its_module(name):
    backbone = build(name).eval()
    maps = {}
    for info in backbone.feature_info:
        backbone.get_submodule(info.name).register_forward_hook(
            lambda _module, _inputs, output, key=info.name: maps.__setitem__(key, output)
        )
    with torch.inference_mode():
        output = backbone(image(1, backbone.in_channels, 19, 32))
    for info in backbone.feature_info:
        size = (-(-19 // info.stride), -(-32 // info.stride))
        assert maps[info.name].shape == (1, info.channels, *size)
    assert torch.equal(maps[backbone.feature_info[-1].name], output)


@every_backbone
def test_double_precision_stays(name):
    backbone = build(name).double().eval()
    with torch.inference_mode():
        assert backbone(image(1, backbone.in_channels, 8, 8).double()).dtype == torch.float64


@every_backbone
def test_gradients_reach_every_parameter(name):
    # In training, a bias in front of a batch norm has no effect, so no gradient either.
    backbone = build(name).eval()
    output = backbone(image(2, backbone.in_channels, 16, 16))
    (output * image(*output.shape, seed=2)).sum().backward()
    for key, parameter in backbone.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().max() > 0, key


@every_backbone
def test_evaluation_is_deterministic(name):
    backbone = build(name).eval()
    data = image(1, backbone.in_channels, 16, 16)
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    with torch.inference_mode():
        assert torch.equal(backbone(data), backbone(data))
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


@every_backbone
def test_batch_of_two_equals_two_batches_of_one(name):
    backbone = build(name).eval()
    data = image(2, backbone.in_channels, 16, 24)
    with torch.inference_mode():
        single = torch.cat([backbone(data[:1]), backbone(data[1:])])
        torch.testing.assert_close(backbone(data), single, rtol=1e-4, atol=1e-5)


@every_backbone
def test_the_input_is_left_as_it_was(name):
    backbone = build(name).eval()
    data = image(1, backbone.in_channels, 8, 8)
    copy = data.clone()
    backbone(data)
    assert torch.equal(data, copy)


@every_backbone
def test_state_dict_round_trip(name, tmp_path):
    first = build(name).eval()
    with seeded(7):
        second = build_backbone(name).eval()
    data = image(1, first.in_channels, 16, 16)
    with torch.inference_mode():
        assert not torch.equal(first(data), second(data))
        torch.save(first.state_dict(), tmp_path / 'weights.pt')
        second.load_state_dict(torch.load(tmp_path / 'weights.pt', weights_only=True), strict=True)
        assert torch.equal(first(data), second(data))


@every_backbone
@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu(name):
    backbone = build(name).eval()
    data = image(1, backbone.in_channels, 33, 40)
    with torch.inference_mode():
        expected = backbone(data)
        found = backbone.cuda()(data.cuda()).cpu()
    # Convolutions may run in TF32, which keeps 10 bits.
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)


def test_tiny_has_the_parameters_of_its_docstring():
    count = sum(parameter.numel() for parameter in TinyBEVBackbone().parameters())
    assert count == 300_352
    assert f'{count:,}' in TinyBEVBackbone.__doc__


def test_tiny_loads_a_state_dict_of_the_same_layers():
    def block(inputs, outputs, kernel, stride=1):
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)
        return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())

    with seeded(3):
        layers = nn.ModuleDict(
            {
                'stem': block(64, 64, 1),
                'block1': block(64, 64, 3),
                'block2': block(64, 64, 3),
                'down': block(64, 128, 3, 2),
                'block3': block(128, 128, 3),
            }
        ).eval()
    backbone = TinyBEVBackbone().eval()
    backbone.load_state_dict(layers.state_dict(), strict=True)
    data = image(1, 64, 21, 16)
    with torch.inference_mode():
        expected = data
        for layer in layers.values():
            expected = layer(expected)
        assert torch.equal(backbone(data), expected)
