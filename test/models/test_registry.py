# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Registry of backbones: names, options and refusals."""

from __future__ import annotations

import pytest

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models import (
    FeatureInfo,
    TinyBEVBackbone,
    build_backbone,
    list_backbones,
    register_backbone,
)


def test_tiny_is_registered():
    assert 'tiny' in list_backbones()
    assert list_backbones() == sorted(list_backbones())
    backbone = build_backbone('tiny', in_channels=3, out_channels=8)
    assert isinstance(backbone, TinyBEVBackbone)
    assert (backbone.in_channels, backbone.out_channels) == (3, 8)
    assert backbone.feature_info == (FeatureInfo('block3', 8, 2),)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(TinyBevError, match=r"'tiyn'; expected one of .*tiny.*did you mean tiny\?"):
        build_backbone('tiyn')
    with pytest.raises(TinyBevError) as error:
        build_backbone('')
    assert 'did you mean' not in str(error.value)


def test_an_unknown_option_lists_the_known_ones():
    with pytest.raises(TinyBevError, match=r"'tiny' is 'out_chanels'.*mean out_channels\?"):
        build_backbone('tiny', out_chanels=3)
    with pytest.raises(TinyBevError, match="option of backbone 'tiny' is 'self'"):
        build_backbone('tiny', **{'self': 1})


@pytest.mark.parametrize('option', ['in_channels', 'mid_channels', 'out_channels'])
@pytest.mark.parametrize('value', [0, -64, 64.0, '64', None, True])
def test_wrong_channels_are_refused(option, value):
    with pytest.raises(TinyBevError) as error:
        build_backbone('tiny', **{option: value})
    assert str(error.value) == f'{option} is {value!r}; expected a whole number above 0'


def test_a_name_is_given_once():
    with pytest.raises(TinyBevError, match="'tiny', which is taken"):
        register_backbone('tiny')(TinyBEVBackbone)
