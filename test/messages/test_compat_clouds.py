# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import PointField
from std_msgs.msg import Header

from tiny_bev_ros.messages import compat as adapter
from tiny_bev_ros.messages.point_cloud import decode_cloud, encode_cloud
from tiny_bev_ros.messages.point_layout import CloudOptions, find_layout
from tiny_bev_ros.optional_imports import import_optional

NAMES = ('x', 'y', 'z', 'intensity')
FIELDS = [
    PointField(name=name, offset=4 * k, datatype=PointField.FLOAT32, count=1)
    for k, name in enumerate(NAMES)
]
HEADER = Header(stamp=Time(sec=1, nanosec=2), frame_id='lidar')


@pytest.fixture(autouse=True)
def fresh_load():
    """Imports sensor_msgs_py anew in each test and after the last one."""
    forget()
    yield
    forget()


def forget():
    """Forgets the imported package, and the layouts that were found with it."""
    import_optional.cache_clear()
    find_layout.cache_clear()


@pytest.fixture
def without_sensor_msgs_py(monkeypatch):
    monkeypatch.setitem(sys.modules, 'sensor_msgs_py', None)
    monkeypatch.setitem(sys.modules, 'sensor_msgs_py.point_cloud2', None)


def random_points(count=20) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)


def odd_fields() -> list[PointField]:
    """One field of every datatype, unaligned and not in the order of offsets."""
    fields, offset = [], 1
    for datatype, dtype in adapter.DATATYPES.items():
        fields.append(PointField(name=f'f{datatype}', offset=offset, datatype=datatype, count=1))
        offset += dtype.itemsize + 1
    return fields[::-1]


def test_datatypes_are_those_of_the_message():
    names = ('INT8', 'UINT8', 'INT16', 'UINT16', 'INT32', 'UINT32', 'FLOAT32', 'FLOAT64')
    expected = {getattr(PointField, name): np.dtype(name.lower()) for name in names}
    assert expected == adapter.DATATYPES
    assert (adapter.FLOAT32, adapter.FLOAT64) == (PointField.FLOAT32, PointField.FLOAT64)


@pytest.mark.usefixtures('without_sensor_msgs_py')
def test_numpy_alone_suffices():
    assert (
        adapter.sensor_msgs_py_unavailable_reason()
        == 'sensor_msgs_py.point_cloud2 is not installed'
    )
    dtype = adapter.cloud_dtype(odd_fields())
    assert {name: dtype.fields[name] for name in dtype.names} == {
        f'f{code}': (adapter.DATATYPES[code], field.offset)
        for code, field in zip(reversed(adapter.DATATYPES), odd_fields(), strict=True)
    }
    points = random_points()
    cloud = adapter.create_cloud(HEADER, FIELDS, points)
    assert cloud.header == HEADER
    assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (1, 20, 16, 320)
    assert cloud.is_dense is False
    assert bytes(cloud.data) == points.tobytes()


def test_installed_package_is_used_but_not_for_empty_clouds(monkeypatch):
    asked = []
    module = ModuleType('sensor_msgs_py.point_cloud2')
    module.dtype_from_fields = lambda fields: asked.append('dtype') or np.dtype('f4')
    module.create_cloud = lambda header, fields, points: asked.append('cloud')
    monkeypatch.setitem(sys.modules, 'sensor_msgs_py', ModuleType('sensor_msgs_py'))
    monkeypatch.setitem(sys.modules, 'sensor_msgs_py.point_cloud2', module)
    assert adapter.sensor_msgs_py_unavailable_reason() is None
    adapter.cloud_dtype(FIELDS)
    adapter.create_cloud(HEADER, FIELDS, random_points())
    assert adapter.create_cloud(HEADER, FIELDS, random_points(0)).width == 0
    assert asked == ['dtype', 'cloud']


def both_ways(call):
    """Returns the results of a call with sensor_msgs_py and without it."""
    pytest.importorskip('sensor_msgs_py.point_cloud2')
    assert adapter.sensor_msgs_py_unavailable_reason() is None
    theirs = call()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, 'sensor_msgs_py.point_cloud2', None)
        forget()
        assert adapter.sensor_msgs_py_unavailable_reason()
        ours = call()
    return theirs, ours


def test_same_dtype_both_ways():
    theirs, ours = both_ways(lambda: adapter.cloud_dtype(odd_fields()))
    assert theirs == ours


@pytest.mark.parametrize('view', [np.s_[:], np.s_[::-2], np.s_[:1], np.s_[:0]])
def test_same_message_both_ways(view):
    theirs, ours = both_ways(lambda: encode_cloud(random_points()[view], (1, 2), 'lidar'))
    assert theirs == ours


@pytest.mark.parametrize('is_bigendian', [False, True])
def test_same_points_both_ways(is_bigendian):
    msg = encode_cloud(np.abs(random_points()), (1, 2), 'lidar')
    msg.is_bigendian = is_bigendian
    msg.height, msg.width, msg.row_step = 3, 5, 100
    options = CloudOptions(intensity_field='y', time_field='z')
    theirs, ours = both_ways(lambda: decode_cloud(msg, options))
    assert theirs.points.tobytes() == ours.points.tobytes()
    assert theirs.dropped == ours.dropped


def test_fields_on_which_it_asserts_never_reach_it():
    msg = encode_cloud(random_points(), (1, 2), 'lidar')
    ring = PointField(name='ring', offset=0, datatype=PointField.UINT8, count=1)
    msg.fields = [*msg.fields, ring, ring]
    theirs, ours = both_ways(lambda: decode_cloud(msg, CloudOptions(intensity_scale=0.5)))
    assert theirs.points.tobytes() == ours.points.tobytes()


def test_the_layout_of_a_stream_is_found_once():
    first, second = (encode_cloud(random_points(count), (1, 2), 'lidar') for count in (3, 20))
    for msg in (first, second, first):
        decode_cloud(msg)
    assert find_layout.cache_info().misses == 1
    second.fields[3].name = 'reflectivity'
    assert np.array_equal(decode_cloud(second).points, random_points())
    second.fields[2].offset = 0
    assert np.array_equal(decode_cloud(second).points[:, 2], random_points()[:, 0])
    assert find_layout.cache_info().misses == 3
