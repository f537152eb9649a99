# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Loading of checkpoints: known key names, and refused weights."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('safetensors')

import pytest
import torch
from checkpoints import below, make_backbone, make_pfn, refusal, same, save

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models import PillarFeatureNet, load_backbone, load_checkpoint, load_pfn


@pytest.mark.parametrize('name', ['weights.pt', 'weights.pth', 'weights.safetensors'])
@pytest.mark.parametrize(
    ('prefix', 'style'),
    [
        ('', 'bare'),
        ('pfn_layers.0.', 'bare'),
        ('pfn.', 'tiny_bev_ros'),
        ('vfe.pfn_layers.0.', 'OpenPCDet'),
        ('pillar_vfe.pfn_layers.0.', 'OpenCOOD'),
        ('voxel_encoder.pfn_layers.0.', 'mmdetection3d'),
        ('pts_voxel_encoder.pfn_layers.0.', 'mmdetection3d'),
        ('reader.pfn_layers.0.', 'det3d'),
        ('module.vfe.pfn_layers.0.', 'OpenPCDet'),
    ],
)
def test_key_names_of_a_pfn(tmp_path, prefix, style, name):
    source, target = make_pfn(1, in_channels=9), make_pfn(2, in_channels=9)
    path = save(tmp_path, below(prefix, source.state_dict()), name)
    assert load_pfn(target, str(path)).names.startswith(style)
    assert same(source, target)


@pytest.mark.parametrize('container', ['state_dict', 'model_state', 'model', 'model_state_dict'])
def test_containers_and_the_rest_of_a_model(tmp_path, container):
    source, target = make_pfn(1), make_pfn(2)
    state = below('module.vfe.pfn_layers.0.', source.state_dict())
    state['module.backbone_2d.blocks.0.1.weight'] = torch.zeros(3)
    path = save(tmp_path, {container: state, 'epoch': 80, 'optimizer_state': {'lr': 0.1}})
    names = load_pfn(target, path).names
    assert names == f'OpenPCDet key names, {container}.vfe.pfn_layers.0.'
    assert same(source, target)


def test_a_whole_model_of_ours_serves_both(tmp_path):
    pfn, backbone = make_pfn(1), make_backbone(1)
    state = below('pfn.', pfn.state_dict()) | below('backbone.', backbone.state_dict())
    path = save(tmp_path, state, 'whole.safetensors')
    other_pfn, other_backbone = make_pfn(2), make_backbone(2)
    load_pfn(other_pfn, path)
    load_backbone(other_backbone, path)
    assert same(pfn, other_pfn)
    assert same(backbone, other_backbone)


@pytest.mark.parametrize('prefix', ['', 'backbone.', 'module.', 'module.backbone.'])
@pytest.mark.parametrize('name', ['weights.pt', 'weights.safetensors'])
def test_key_names_of_a_backbone(tmp_path, prefix, name):
    source, target = make_backbone(1), make_backbone(2)
    path = save(tmp_path, below(prefix, source.state_dict()), name)
    assert load_backbone(target, path).names.startswith('tiny_bev_ros key names')
    assert same(source, target)


def test_trailing_ones_of_a_linear_weight_are_accepted(tmp_path):
    source, target = make_pfn(1), make_pfn(2)
    state = source.state_dict()
    state['linear.weight'] = state['linear.weight'][:, :, None, None]
    load_pfn(target, save(tmp_path, state))
    assert same(source, target)


def test_the_counter_of_batches_may_be_missing(tmp_path):
    source, target = make_pfn(1), make_pfn(2)
    state = source.state_dict()
    del state['norm.num_batches_tracked']
    load_pfn(target, save(tmp_path, state))
    assert same(source, target)


def test_half_precision_becomes_float32(tmp_path):
    source, target = make_pfn(1).half(), make_pfn(2)
    load_pfn(target, save(tmp_path, source.state_dict()))
    assert target.linear.weight.dtype == torch.float32
    assert torch.equal(target.linear.weight, source.linear.weight.float())


def test_wrong_keys_are_named(tmp_path):
    state = below('vfe.', make_pfn().state_dict())
    state['vfe.linear.bias'] = torch.zeros(8)
    state['vfe.norm.weight'] = torch.zeros(9)
    del state['vfe.norm.bias'], state['vfe.norm.running_var']
    message = refusal(load_pfn, make_pfn(2), save(tmp_path, state))
    for words in (
        'missing vfe.norm.bias',
        'missing vfe.norm.running_var',
        'unexpected vfe.linear.bias',
        'vfe.norm.weight has shape (9,); expected (8,)',
    ):
        assert words in message


def test_wrong_keys_of_a_backbone_are_named(tmp_path):
    state = make_backbone().state_dict()
    state['block4.0.weight'] = state.pop('block3.0.weight')
    state['stem.0.weight'] = torch.zeros(4, 5, 1, 1)
    message = refusal(load_backbone, make_backbone(2), save(tmp_path, state))
    assert 'missing block3.0.weight' in message
    assert 'stem.0.weight has shape (4, 5, 1, 1); expected (4, 4, 1, 1)' in message


def test_other_decorations_are_a_wrong_shape(tmp_path):
    path = save(tmp_path, make_pfn(in_channels=9).state_dict())
    assert 'linear.weight has shape (8, 9); expected (8, 10)' in refusal(
        load_pfn, make_pfn(in_channels=10), path
    )


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    state = make_pfn().state_dict()
    state['norm.running_mean'][3] = value
    message = refusal(load_pfn, make_pfn(2), save(tmp_path, state))
    assert 'norm.running_mean holds NaN or Inf' in message


@pytest.mark.parametrize(
    ('value', 'words'),
    [(3, 'is a int; expected a tensor'), (torch.zeros(8).int(), 'is torch.int32; expected')],
)
def test_values_that_are_no_weights_are_refused(tmp_path, value, words):
    state = {**make_pfn().state_dict(), 'norm.bias': value}
    assert f'norm.bias {words}' in refusal(load_pfn, make_pfn(2), save(tmp_path, state))


def test_several_layers_are_refused(tmp_path):
    state = below('vfe.pfn_layers.0.', make_pfn().state_dict())
    state |= below('vfe.pfn_layers.1.', make_pfn().state_dict())
    assert 'PFN of several layers' in refusal(load_pfn, make_pfn(2), save(tmp_path, state))


def test_ten_channels_of_det3d_are_refused(tmp_path):
    path = save(tmp_path, below('reader.pfn_layers.0.', make_pfn().state_dict()))
    assert 'det3d PFN of 10 channels' in refusal(load_pfn, make_pfn(2), path)


def test_several_candidates_are_refused(tmp_path):
    state = below('vfe.', make_pfn(1).state_dict()) | below('student.', make_pfn(2).state_dict())
    message = refusal(load_pfn, make_pfn(3), save(tmp_path, state))
    assert 'holds such weights 2 times, below student. and vfe.; expected them once' in message
    both = {'state_dict': make_pfn(1).state_dict(), 'ema': make_pfn(2).state_dict()}
    message = refusal(load_pfn, make_pfn(3), save(tmp_path, both))
    assert 'below ema. and state_dict.; expected them once' in message


def test_parts_of_a_file_are_loaded_all_or_none(tmp_path):
    pfn, backbone = make_pfn(1), make_backbone(1)
    state = below('pfn.', pfn.state_dict()) | below('backbone.', backbone.state_dict())
    path = save(tmp_path, state)
    targets = {'pfn': make_pfn(2), 'backbone': make_backbone(2)}
    infos = load_checkpoint(path, targets)
    assert [info.names.split(', ')[1] for info in infos.values()] == ['pfn.', 'backbone.']
    assert same(pfn, targets['pfn'])
    assert same(backbone, targets['backbone'])
    del state['backbone.stem.0.weight']
    targets = {'pfn': make_pfn(2), 'backbone': make_backbone(2)}
    with pytest.raises(TinyBevError, match=r'missing backbone\.stem\.0\.weight'):
        load_checkpoint(save(tmp_path, state), targets)
    assert same(make_pfn(2), targets['pfn'])


def test_tensors_of_other_kinds_and_impossible_variances_are_refused(tmp_path):
    model = PillarFeatureNet()
    good = model.state_dict()
    sparse = {**good, 'linear.weight': good['linear.weight'].to_sparse()}
    message = refusal(load_pfn, model, save(tmp_path, sparse, 'a.pt'))
    assert (
        'linear.weight is a torch._utils._rebuild_sparse_tensor; expected an ordinary' in message
    )
    negative = {**good, 'norm.running_var': -good['norm.running_var']}
    message = refusal(load_pfn, model, save(tmp_path, negative, 'b.pt'))
    assert 'norm.running_var holds a negative variance' in message


@pytest.mark.gpu
@pytest.mark.parametrize('name', ['weights.pt', 'weights.safetensors'])
def test_a_model_on_cuda_stays_there(tmp_path, name):
    source, target = make_pfn(1), make_pfn(2).cuda()
    load_pfn(target, save(tmp_path, source.cuda().state_dict(), name))
    assert target.linear.weight.is_cuda
    assert same(source, target)
