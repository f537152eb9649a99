# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Byte order of clouds whose `is_bigendian` is wrong, as a simulator's plug-in sends them."""

from __future__ import annotations

import array

import numpy as np
import pytest
from sensor_msgs.msg import PointCloud2, PointField

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.point_cloud import decode_cloud
from tiny_bev_ros.messages.point_layout import CloudOptions

F4, F8 = PointField.FLOAT32, PointField.FLOAT64


def cloud_of(points: np.ndarray, coordinate: str, big: bool, declared: bool) -> PointCloud2:
    """Makes a cloud of points (H, W, 4) in one byte order, with another or the same declared."""
    order = '>' if big else '<'
    dtype = np.dtype(
        [(name, order + coordinate) for name in 'xyz'] + [('intensity', f'{order}u2')]
    )
    records = np.zeros(points.shape[:2], dtype)
    for column, name in enumerate(dtype.names or ()):
        records[name] = points[..., column]
    codes = {'f4': F4, 'f8': F8}
    fields = [
        PointField(
            name=name,
            offset=dtype.fields[name][1],  # type: ignore[index]
            datatype=codes.get(coordinate, F4) if name in 'xyz' else PointField.UINT16,
            count=1,
        )
        for name in dtype.names or ()
    ]
    height, width = points.shape[:2]
    return PointCloud2(
        height=height, width=width, fields=fields, is_bigendian=declared, is_dense=True,
        point_step=dtype.itemsize, row_step=width * dtype.itemsize,
        data=array.array('B', records.tobytes()),
    )  # fmt: skip


def random_points(shape: tuple[int, int] = (4, 50)) -> np.ndarray:
    random = np.random.default_rng(0)
    points = random.normal(0, 20, (*shape, 4)).astype(np.float32)
    points[..., 3] = random.integers(0, 256, shape)
    return points


@pytest.mark.parametrize('coordinate', ['f4', 'f8'])
@pytest.mark.parametrize('big', [False, True])
@pytest.mark.parametrize('declared', [False, True])
def test_coordinates_are_metres_in_the_order_that_is_used(coordinate, big, declared):
    points = random_points()
    cloud = decode_cloud(cloud_of(points, coordinate, big, declared))
    np.testing.assert_array_equal(cloud.points, points.reshape(-1, 4))
    if big == declared:
        assert cloud.notes == ()
    else:
        (note,) = cloud.notes
        assert note.startswith(f'is_bigendian is {declared}, ') and f'expected {big}' in note


def test_a_packed_cloud_declared_big_endian():
    points = random_points()[..., :4].reshape(-1, 4)
    fields = [
        PointField(name=name, offset=4 * k, datatype=F4, count=1)
        for k, name in enumerate(('x', 'y', 'z', 'intensity'))
    ]
    msg = PointCloud2(
        height=1, width=len(points), fields=fields, is_bigendian=True, point_step=16,
        row_step=16 * len(points), data=array.array('B', points.tobytes()),
    )  # fmt: skip
    for options in (CloudOptions(), CloudOptions(time_field='x')):
        cloud = decode_cloud(msg, options)
        np.testing.assert_array_equal(cloud.points[:, :4], points)
        assert len(cloud.notes) == 1


def little_evidence(name: str) -> np.ndarray:
    """Makes points of which few coordinates give evidence of the byte order."""
    points = random_points((16, 64))
    if name == 'whole metres':
        points[..., :3] = points[..., :3].round()
    elif name == 'flat':
        points[..., 2] = 1.2e-17
    elif name == 'no returns but a few':
        points[..., :3] = np.where(np.arange(64)[:, None] % 63 == 5, points[..., :3], 0)
    elif name == 'NaN but a few':
        points[..., :3] = np.where(np.arange(64)[:, None] % 63 == 5, points[..., :3], np.nan)
    elif name == 'one point':
        points = np.float32([[[3.5, -2.25, 0.5, 7]]])
    elif name == 'far away':
        points[..., :3] += [500000, 4600000, 120]
    return points


@pytest.mark.parametrize(
    'name',
    ['whole metres', 'flat', 'no returns but a few', 'NaN but a few', 'one point', 'far away'],
)
@pytest.mark.parametrize('coordinate', ['f4', 'f8'])
@pytest.mark.parametrize('declared', [False, True])
def test_clouds_with_little_evidence(name, coordinate, declared):
    points = little_evidence(name)
    cloud = decode_cloud(cloud_of(points, coordinate, False, declared))
    expected = points.reshape(-1, 4)
    np.testing.assert_array_equal(cloud.points, expected[np.isfinite(expected).all(axis=1)])
    assert len(cloud.notes) == declared


@pytest.mark.parametrize('value', [0.0, np.nan])
@pytest.mark.parametrize('declared', [False, True])
def test_the_declaration_holds_without_evidence(value, declared):
    points = np.full((2, 100, 4), value, np.float32)
    points[..., 3] = 1
    cloud = decode_cloud(cloud_of(points, 'f4', declared, declared))
    assert cloud.notes == ()
    assert len(cloud.points) == (0 if np.isnan(value) else 200)


def test_numbers_that_are_no_metres_in_either_order_are_refused():
    values = np.frombuffer(bytes.fromhex('7a0b0c7a') * 3, '<f4')
    points = np.concatenate([np.tile(values, (3, 40, 1)), np.zeros((3, 40, 1), np.float32)], 2)
    with pytest.raises(
        TinyBevError,
        match=r'^coordinates are about 1.8\de\+35 m and .*; expected at most 1e\+08 m$',
    ):
        decode_cloud(cloud_of(points, 'f4', False, False))
