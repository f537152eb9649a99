# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""One real cloud in every PointCloud2 layout that drivers are known to publish."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.point_cloud import decode_cloud
from tiny_bev_ros.messages.point_layout import CloudOptions

rosbags = pytest.importorskip('rosbags.highlevel')

NO_INTENSITY = {'xyz_12', 'xyz_pad16', 'rgb_32'}
# Layouts whose intensity is the true 0..1 one in whole steps of 1/255, times 1 or 7.
STEPS = dict.fromkeys(
    (
        'ouster_os1_2018_32',
        'hesai_xyzit_ring_48',
        'robosense_u8_32',
        'robosense_xyzirt_26',
        'livox_26',
        'livox_18',
        'livox_reflectivity_26',
        'nebula_xyzircaedt_32',
        'autoware_xyziradt_48',
        'av2_18',
    ),
    1,
) | {'ouster_48': 7, 'ouster_old_ring_u8_48': 7}
DROPPED = {'nan_not_dense', 'nan_but_dense_flag', 'inf_dense_flag', 'nan_intensity_only'}
# Name of the time field and seconds per unit; every layout's sweep takes 0.1 s.
TIMES = {
    'velodyne_xyzirt_22': ('time', 1),
    'velodyne_xyzirt_pcl_32': ('time', 1),
    'bigendian_22': ('time', 1),
    'row_step_zero': ('time', 1),
    'ouster_48': ('t', 1e-9),
    'ouster_os1_2018_32': ('t', 1),
    'hesai_xyzit_ring_48': ('timestamp', 1),
    'robosense_xyzirt_26': ('timestamp', 1),
    'livox_26': ('timestamp', 1),
    'nebula_xyzircaedt_32': ('time_stamp', 1e-9),
    'autoware_xyziradt_48': ('time_stamp', 1),
    'av2_18': ('offset_ns', 1e-9),
}
BAD = {
    'truncated_data': r'data has 31960 bytes; expected at least 32000',
    'no_xyz': r"expected one named 'x'",
    'field_beyond_step': r"field 'intensity' ends at byte 20; .* point_step of 16",
    'point_step_zero': r'point_step is 0',
}


@pytest.fixture(scope='module')
def zoo(data_dir) -> dict:
    """{topic: message}."""
    folder = data_dir / 'bags_derived' / 'pointcloud2_zoo_open'
    if not folder.is_dir():
        pytest.skip(f'no {folder}')
    with rosbags.AnyReader([folder]) as reader:
        return {
            connection.topic: reader.deserialize(raw, connection.msgtype)
            for connection, _, raw in reader.messages()
        }


@pytest.fixture(scope='module')
def layouts(data_dir) -> list[str]:
    path = data_dir / 'bags_derived' / 'pointcloud2_zoo_open_layouts.json'
    return list(json.loads(path.read_text())['layouts'])


@pytest.fixture(scope='module')
def truth(data_dir) -> dict:
    with np.load(data_dir / 'bags_derived' / 'pointcloud2_zoo_open_truth.npz') as arrays:
        return dict(arrays)


def expected_points(layout: str, truth: dict) -> np.ndarray:
    points = truth['points'].copy()
    if layout in NO_INTENSITY:
        points[:, 3] = 0
    if layout in STEPS:
        points[:, 3] = np.round(points[:, 3] * 255) * STEPS[layout]
    if layout == 'zeros_no_return':
        points[truth['bad_index'], :3] = 0
    if layout in DROPPED:
        points = np.delete(points, truth['bad_index'], axis=0)
    if layout == 'empty':
        points = points[:0]
    return points


def test_every_layout_is_read_bit_exactly(zoo, layouts, truth):
    assert len(layouts) == 37
    for layout in layouts:
        cloud = decode_cloud(zoo[f'/zoo/{layout}'])
        expected = expected_points(layout, truth)
        assert cloud.points.dtype == np.float32
        assert cloud.points.shape == expected.shape, layout
        assert cloud.points.tobytes() == expected.tobytes(), layout
        assert cloud.dropped == (400 if layout in DROPPED else 0), layout
        assert cloud.notes == (), layout


def test_every_malformed_cloud_is_refused(zoo):
    assert {topic for topic in zoo if topic.startswith('/zoo_bad/')} == {
        f'/zoo_bad/{name}' for name in BAD
    }
    for name, error in BAD.items():
        with pytest.raises(TinyBevError, match=error):
            decode_cloud(zoo[f'/zoo_bad/{name}'])


def test_missing_intensity_can_be_an_error(zoo, layouts):
    refused = set()
    for layout in layouts:
        try:
            decode_cloud(zoo[f'/zoo/{layout}'], CloudOptions(missing_intensity='error'))
        except TinyBevError as error:
            assert 'expected an intensity named intensity or i or reflectivity' in str(error)
            refused.add(layout)
    assert refused == NO_INTENSITY


@pytest.mark.parametrize('layout', list(TIMES))
def test_time(zoo, truth, layout):
    field, unit = TIMES[layout]
    options = CloudOptions(time_field=field, time_scale=unit)
    cloud = decode_cloud(zoo[f'/zoo/{layout}'], options)
    np.testing.assert_array_equal(cloud.points[:, :4], expected_points(layout, truth))
    np.testing.assert_allclose(cloud.points[:, 4], np.linspace(0, 0.1, 2000), atol=3e-7)


def test_reflectivity_can_be_chosen(zoo, truth):
    options = CloudOptions(intensity_field='reflectivity', intensity_scale=1 / 255)
    cloud = decode_cloud(zoo['/zoo/ouster_48'], options)
    steps = np.round(truth['points'][:, 3] * 255).astype(np.float32)
    np.testing.assert_allclose(cloud.points[:, 3], steps / 255, rtol=1e-6)
