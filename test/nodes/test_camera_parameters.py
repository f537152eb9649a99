# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Names and poses of cameras in the parameters of a node."""

from __future__ import annotations

import pytest
import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.camera.extrinsics import extrinsics_from_pose
from tiny_bev_ros.nodes.camera_parameters import (
    camera_names,
    extrinsics_parameters,
    fixed_extrinsics,
)

AHEAD = [0.3, 0.0, -0.1, -0.5, 0.5, -0.5, 0.5]


@pytest.mark.parametrize('values', [{}, {'cameras': ['']}, {'cameras': []}])
def test_no_cameras(values):
    assert camera_names(values) == ()
    assert extrinsics_parameters(values) == []
    assert fixed_extrinsics(values) == {}


def test_each_camera_has_a_pose_which_by_default_comes_from_tf():
    values = {'cameras': ['front', 'rig/left_2']}
    parameters = extrinsics_parameters(values)
    assert [each.name for each in parameters] == ['extrinsics.front', 'extrinsics.rig/left_2']
    values |= {each.name: each.default for each in parameters}
    assert fixed_extrinsics(values) == {'front': None, 'rig/left_2': None}
    found = fixed_extrinsics(values | {'extrinsics.front': AHEAD})
    assert torch.equal(found['front'], extrinsics_from_pose(AHEAD))
    assert found['rig/left_2'] is None


@pytest.mark.parametrize(
    'names', [['a', 'a'], ['a', ''], ['/a'], ['a/'], ['2a'], ['a b'], ['a.b'], ['~a'], ['ä']]
)
def test_refused_names(names):
    with pytest.raises(TinyBevError, match=r'^parameter cameras is \['):
        camera_names({'cameras': names})


def test_refused_pose():
    with pytest.raises(TinyBevError, match=r'^parameter extrinsics.a: pose is .* of length 2'):
        fixed_extrinsics({'cameras': ['a'], 'extrinsics.a': [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0]})
