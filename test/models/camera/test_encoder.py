# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""CameraEncoder: shapes, feature_info, refusals, and networks of timm."""

import sys
from importlib import import_module

import pytest
import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models import CameraEncoder, FeatureInfo, load_camera_encoder, seeded


def timm_missing() -> str:
    """Reason for which networks of timm cannot be tested; '' where they can."""
    try:
        import_module('timm')
    except (ImportError, RuntimeError) as error:
        return f'timm cannot be imported: {error}'
    return ''


WHY_NO_TIMM = timm_missing()
needs_timm = pytest.mark.skipif(bool(WHY_NO_TIMM), reason=WHY_NO_TIMM)


def make(*arguments, seed=0, **options):
    with seeded(seed):
        return CameraEncoder(*arguments, **options).eval()


@pytest.mark.parametrize('stride', [2, 4, 8, 16, 32])
@pytest.mark.parametrize('size', [(96, 256), (93, 311), (1, 1)])
def test_shapes(stride, size):
    encoder = make(out_channels=24, stride=stride)
    features = encoder(torch.rand(2, 3, 3, *size))
    rows, cols = (-(-value // stride) for value in size)
    assert features.shape == (2, 3, 24, rows, cols)
    assert (encoder.channels, encoder.stride) == (24, stride)
    assert encoder.feature_info[-1] == FeatureInfo('neck', 24, stride)
    assert [info.stride for info in encoder.feature_info[:-1]] == [
        2**level for level in range(1, stride.bit_length())
    ]


def test_feature_info_is_true():
    encoder = make(stride=16)
    modules, seen = dict(encoder.named_modules()), {}
    for info in encoder.feature_info:
        modules[info.name].register_forward_hook(
            lambda module, inputs, output, name=info.name: seen.update({name: output})
        )
    encoder(torch.rand(1, 1, 3, 64, 128))
    for info in encoder.feature_info:
        assert seen[info.name].shape == (1, info.channels, 64 // info.stride, 128 // info.stride)


def test_cameras_are_apart():
    encoder, images = make(), torch.rand(2, 3, 3, 32, 48)
    whole = encoder(images)
    alone = encoder(images[1:2, 2:3])
    torch.testing.assert_close(whole[1:2, 2:3], alone)


def test_no_camera():
    assert make().train()(torch.rand(2, 0, 3, 30, 50)).shape == (2, 0, 64, 4, 7)


def test_all_of_it_learns():
    encoder = make().train()
    encoder(torch.rand(1, 2, 3, 64, 64)).square().sum().backward()
    assert all(value.grad.abs().sum() > 0 for name, value in encoder.named_parameters()
               if not name.endswith('.0.bias') and '.3.bias' not in name)  # fmt: skip


def test_small():
    assert sum(value.numel() for value in make().parameters()) < 100_000


@pytest.mark.parametrize(
    'shape', [(3, 32, 32), (1, 1, 1, 32, 32), (1, 3, 32, 32, 1), (1, 1, 3, 0, 8)]
)
def test_other_shapes_are_refused(shape):
    with pytest.raises(
        TinyBevError, match=r'images have shape .*; expected \(B, cameras, 3, H, W\)'
    ):
        make()(torch.rand(*shape))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'stride': 3}, 'stride is 3; expected one of'),
        ({'stride': 64}, 'stride is 64; expected one of'),
        ({'out_channels': 0}, 'out_channels is 0; expected a whole number'),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(TinyBevError, match=message):
        CameraEncoder(**options)


def test_without_timm_the_error_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(TinyBevError, match=r"is 'resnet18'; expected 'tiny', or timm .* pip"):
        CameraEncoder('resnet18')
    assert make('tiny')(torch.rand(1, 1, 3, 16, 16)).shape == (1, 1, 64, 2, 2)


def test_weights_from_a_file(tmp_path):
    source, target = make(seed=1), make(seed=2)
    path = tmp_path / 'weights.pt'
    torch.save(
        {f'camera_encoder.{key}': value for key, value in source.state_dict().items()}, path
    )
    assert load_camera_encoder(target, path).names == 'tiny_bev_ros key names, camera_encoder.'
    image = torch.rand(1, 1, 3, 32, 32)
    assert torch.equal(source(image), target(image))
    with pytest.raises(TinyBevError, match=r'does not fit the model: .*missing camera_encoder'):
        load_camera_encoder(make(stride=16), path)


@needs_timm
@pytest.mark.parametrize(
    ('name', 'stride'),
    [
        ('resnet18', 8),
        ('resnet18', 16),
        ('mobilenetv3_small_050', 16),
        ('convnext_atto', 8),
        ('dla34', 8),  # its second map is the first of stride 2
        ('tv_resnet34', 8),  # deprecated name
    ],
)
def test_networks_of_timm(name, stride):
    encoder = make(name, 32, stride)
    assert encoder(torch.rand(1, 2, 3, 100, 170)).shape == (
        1, 2, 32, -(-100 // stride), -(-170 // stride)
    )  # fmt: skip
    assert [info.stride for info in encoder.feature_info][-2:] == [stride, stride]
    assert encoder.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    modules = dict(encoder.named_modules())
    assert all(info.name in modules for info in encoder.feature_info)


@needs_timm
@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('resnet81', 'expected .tiny. or a network of timm .did you mean'),
        ('hf-hub:timm/resnet18.a1_in1k', 'expected .tiny. or a network of timm'),
        ('../resnet18', 'expected .tiny. or a network of timm'),
        ('vit_tiny_patch16_224', 'turns an image of 688 x 176'),
    ],
)
def test_other_names_are_refused(name, message):
    with pytest.raises(TinyBevError, match=message):
        CameraEncoder(name, stride=16)


@needs_timm
def test_blocks_behind_the_last_map_are_left_out():
    timm = pytest.importorskip('timm')
    encoder = make('mobilenetv3_small_050', stride=8)
    whole = timm.create_model('mobilenetv3_small_050', features_only=True).eval()
    whole.load_state_dict(encoder.body.state_dict(), strict=False)
    image = torch.rand(1, 3, 64, 96)
    levels = [info.stride for info in encoder.feature_info].index(8)
    with torch.no_grad():
        assert torch.equal(encoder.body(image)[-1], whole(image)[levels])
    assert len(encoder.body.blocks) == 2 < len(whole.blocks)


@needs_timm
def test_a_network_that_wants_more_than_whole_features_is_refused():
    """Refused, as it returns 12 rows for 11 at stride 8, which shifts features in the image."""
    with pytest.raises(TinyBevError, match=r'of 344 x 88 pixels into .*; expected a map'):
        CameraEncoder('mobilevitv2_050', stride=8)
