# SPDX-License-Identifier: Apache-2.0
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
