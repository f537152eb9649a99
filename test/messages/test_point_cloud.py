# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import array
import copy
import math
import struct
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import PointCloud2, PointField

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.point_cloud import decode_cloud, encode_cloud
from tiny_bev_ros.messages.point_layout import CloudOptions

F4, F8 = PointField.FLOAT32, PointField.FLOAT64
# PointField.datatype -> code of the struct module.
CODES = {1: 'b', 2: 'B', 3: 'h', 4: 'H', 5: 'i', 6: 'I', 7: 'f', 8: 'd'}
XYZ = [('x', 0, F4), ('y', 4, F4), ('z', 8, F4)]
XYZI = [*XYZ, ('intensity', 12, F4)]


def random_points(count=50) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 20, (count, 4)).astype(np.float32)


def field(name, offset, datatype, count=1) -> PointField:
    return PointField(name=name, offset=offset, datatype=datatype, count=count)


def message(fields, rows, point_step=None, row_step=None, big=False) -> PointCloud2:
    """A cloud from rows of points, each a tuple of one value per field."""
    order = '>' if big else '<'
    ends = [offset + struct.calcsize(order + CODES[code]) for _, offset, code in fields]
    point_step = point_step or max(ends)
    width = len(rows[0])
    row_step = row_step or width * point_step
    data = bytearray(b'\xa5' * (len(rows) * row_step))
    for r, row in enumerate(rows):
        for c, point in enumerate(row):
            for (_, offset, code), value in zip(fields, point, strict=True):
                at = r * row_step + c * point_step + offset
                struct.pack_into(order + CODES[code], data, at, value)
    msg = PointCloud2(
        height=len(rows),
        width=width,
        fields=[field(*spec) for spec in fields],
        point_step=point_step,
        row_step=row_step,
        is_bigendian=big,
        is_dense=True,
    )
    msg.data = array.array('B', data)
    return msg


def changed(msg, **changes):
    msg = copy.deepcopy(msg)
    for name, value in changes.items():
        setattr(msg, name, value)
    return msg


def with_data(msg, data) -> SimpleNamespace:
    """Returns a copy of the cloud with data that a message of rclpy would convert."""
    names = [name.lstrip('_') for name in PointCloud2.get_fields_and_field_types()]
    return SimpleNamespace(**{name: getattr(msg, name) for name in names} | {'data': data})


# --- encoding ---------------------------------------------------------------------------


def test_round_trip():
    points = random_points()
    msg = encode_cloud(points, (12, 345), 'lidar')
    assert (msg.height, msg.width, msg.point_step, msg.row_step) == (1, 50, 16, 800)
    assert [(f.name, f.offset, f.datatype, f.count) for f in msg.fields] == [
        (name, 4 * k, F4, 1) for k, name in enumerate(('x', 'y', 'z', 'intensity'))
    ]
    assert (msg.header.stamp.sec, msg.header.stamp.nanosec) == (12, 345)
    assert msg.header.frame_id == 'lidar'
    assert decode_cloud(msg).points.tobytes() == points.tobytes()


def test_encode_takes_any_strides_and_no_points():
    points = random_points()
    for view in (points[::-2], np.asfortranarray(points), points[:0]):
        np.testing.assert_array_equal(decode_cloud(encode_cloud(view, (0, 0), '')).points, view)


@pytest.mark.parametrize(
    'points', [np.zeros((3, 3), np.float32), np.zeros((3, 4)), np.zeros(4, np.float32)]
)
def test_encode_refuses_other_arrays(points):
    with pytest.raises(TinyBevError, match=r'expected \(N, 4\) float32'):
        encode_cloud(points, (0, 0), '')


# --- buffers and copies -----------------------------------------------------------------


@pytest.mark.parametrize(
    'kind',
    [
        bytes,
        bytearray,
        memoryview,
        lambda data: array.array('B', data),
        lambda data: np.frombuffer(data, np.uint8),
        lambda data: np.frombuffer(b'\0' + data, np.uint8)[1:],
    ],
)
@pytest.mark.parametrize('packed', [True, False])
def test_any_buffer(kind, packed):
    points = random_points()
    fields = XYZI if packed else [*XYZ, ('intensity', 16, F4)]
    msg = message(fields, [points.tolist()])
    plain = with_data(msg, kind(bytes(msg.data)))
    decoded = decode_cloud(plain).points
    np.testing.assert_array_equal(decoded, points)
    assert decoded.flags.aligned


@pytest.mark.parametrize('data', [[0] * 800, np.zeros(1600, np.uint8)[::2], None])
def test_other_data_are_refused(data):
    msg = encode_cloud(random_points(), (0, 0), '')
    with pytest.raises(TinyBevError, match=r'data is a \w+; expected contiguous bytes'):
        decode_cloud(with_data(msg, data))


def test_packed_good_cloud_is_not_copied():
    msg = encode_cloud(random_points(), (0, 0), '')
    assert np.shares_memory(decode_cloud(msg).points, np.frombuffer(msg.data, np.uint8))


def test_fields_that_look_packed_but_are_padded():
    points = random_points(6)
    rows = points.reshape(2, 3, 4).tolist()
    for steps in ({'point_step': 20}, {'row_step': 52}, {'point_step': 17, 'row_step': 51}):
        np.testing.assert_array_equal(decode_cloud(message(XYZI, rows, **steps)).points, points)


@pytest.mark.parametrize(
    'options', [CloudOptions(intensity_scale=0.5), CloudOptions(time_field='x')]
)
def test_message_is_not_changed(options):
    msg = encode_cloud(random_points(), (0, 0), '')
    before = bytes(msg.data)
    decode_cloud(msg, options)
    assert bytes(msg.data) == before


# --- points that are dropped ------------------------------------------------------------


@pytest.mark.parametrize('is_dense', [True, False])
@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize('column', range(4))
def test_points_that_are_not_finite_are_dropped_and_counted(column, bad, is_dense):
    points = random_points()
    points[[3, 17, 49], column] = bad
    msg = encode_cloud(points, (0, 0), '')
    cloud = decode_cloud(changed(msg, is_dense=is_dense))
    assert cloud.dropped == 3
    np.testing.assert_array_equal(cloud.points, np.delete(points, [3, 17, 49], axis=0))


def test_all_points_can_be_dropped():
    cloud = decode_cloud(encode_cloud(np.full((7, 4), np.nan, np.float32), (0, 0), ''))
    assert cloud.points.shape == (0, 4)
    assert cloud.dropped == 7


def test_values_beyond_float32_are_dropped():
    fields = [('x', 0, F8), ('y', 8, F8), ('z', 16, F8)]
    msg = message(fields, [[(1e300, 0, 0), (0.1, 2, 3), (0, -1e39, 0)]])
    cloud = decode_cloud(msg)
    assert cloud.dropped == 2
    np.testing.assert_array_equal(cloud.points, np.float32([[0.1, 2, 3, 0]]))


# --- wrong statements of a message --------------------------------------------------------


@pytest.mark.parametrize('bad', [math.nan, math.inf])
def test_an_intensity_of_nothing_but_nan_is_taken_as_missing(bad):
    points = random_points(600)
    points[:, 3] = bad
    points[5, 0] = math.nan
    cloud = decode_cloud(encode_cloud(points, (0, 0), ''))
    expected = np.delete(points, 5, axis=0)
    expected[:, 3] = 0
    np.testing.assert_array_equal(cloud.points, expected)
    assert cloud.dropped == 1
    (note,) = cloud.notes
    assert note.startswith('intensity is NaN or infinite in all points; expected finite numbers')
    with pytest.raises(TinyBevError, match='intensity is NaN or infinite in all points'):
        decode_cloud(encode_cloud(points, (0, 0), ''), CloudOptions(missing_intensity='error'))


def test_surplus_data_are_noted():
    msg = encode_cloud(random_points(), (0, 0), '')
    assert decode_cloud(msg).notes == ()
    half = decode_cloud(changed(msg, width=25, row_step=400))
    assert len(half.points) == 25
    assert half.notes == (
        'data has 800 bytes; expected 400 (height 1, width 25, row_step 400), the rest is ignored',
    )
    (note,) = decode_cloud(changed(msg, height=0)).notes
    assert 'data has 800 bytes; expected 0' in note


@pytest.mark.parametrize('datatype', [F4, F8])
def test_the_origin_is_subtracted_before_digits_are_lost(datatype):
    near = np.random.default_rng(0).uniform(-40, 40, (50, 3)).astype(np.float32)
    size = 4 if datatype == F4 else 8
    fields = [(name, size * axis, datatype) for axis, name in enumerate('xyz')]
    origin = (8192.0, -4096.0) if datatype == F4 else (500000.0, 4600000.0)
    far = near.astype(np.float64) + np.array([*origin, 0])
    points = decode_cloud(message(fields, [far.tolist()]), origin=origin).points
    # float32 has steps of a millimetre there.
    np.testing.assert_allclose(points[:, :3], near, atol=6e-4 if datatype == F4 else 1e-6)


# --- options ----------------------------------------------------------------------------


def test_auto_intensity_takes_the_first_name_present():
    names = ('reflectivity', 'i', 'intensity')
    fields = [*XYZ, *((name, 12 + 4 * k, F4) for k, name in enumerate(names))]
    point = (0, 0, 0, 1, 2, 3)
    msg = message(fields, [[point]])
    assert decode_cloud(msg).points[0, 3] == 3
    assert decode_cloud(message(fields[:-1], [[point[:-1]]])).points[0, 3] == 2
    assert decode_cloud(message(fields[:-2], [[point[:-2]]])).points[0, 3] == 1
    assert decode_cloud(msg, CloudOptions(intensity_field='i')).points[0, 3] == 2
    assert decode_cloud(msg, CloudOptions(intensity_field='z')).points[0, 3] == 0


def test_missing_intensity():
    msg = message([*XYZ, ('rgb', 12, F4)], [[(1, 2, 3, 4)]])
    np.testing.assert_array_equal(decode_cloud(msg).points, [[1, 2, 3, 0]])
    named = CloudOptions(intensity_field='power')
    np.testing.assert_array_equal(decode_cloud(msg, named).points, [[1, 2, 3, 0]])
    strict = CloudOptions(intensity_field='power', missing_intensity='error')
    with pytest.raises(TinyBevError, match=r"'rgb'\]; expected an intensity named power"):
        decode_cloud(msg, strict)


@pytest.mark.parametrize('datatype', list(CODES))
def test_intensity_of_every_type_is_scaled(datatype):
    msg = message([*XYZ, ('intensity', 12, datatype)], [[(0, 0, 0, 100), (0, 0, 0, 51)]])
    points = decode_cloud(msg, CloudOptions(intensity_scale=1 / 255)).points
    np.testing.assert_allclose(points[:, 3], [100 / 255, 0.2], rtol=1e-6)
    np.testing.assert_array_equal(decode_cloud(msg).points[:, 3], [100, 51])


def test_absolute_time_keeps_its_nanoseconds():
    times = [1.7e9 + 0.0999, 1.7e9, 1.7e9 + 0.0001]
    msg = message([*XYZ, ('t', 12, F8)], [[(0, 0, 0, t) for t in times]])
    points = decode_cloud(msg, CloudOptions(time_field='t')).points
    np.testing.assert_allclose(points[:, 4], [0.0999, 0, 0.0001], atol=5e-7)


def test_integer_time_is_scaled_and_signed():
    msg = message([*XYZ, ('dt', 12, 5)], [[(0, 0, 0, t) for t in (-(10**9), 0, 2 * 10**9)]])
    points = decode_cloud(msg, CloudOptions(time_field='dt', time_scale=1e-9)).points
    np.testing.assert_array_equal(points[:, 4], [0, 1, 3])


def test_dropped_points_do_not_count_as_earliest():
    rows = [[(math.nan, 0, 0, 0), (0, 0, 0, 1.7e9 + 1), (0, 0, 0, math.nan), (0, 0, 0, 1.7e9)]]
    cloud = decode_cloud(message([*XYZ, ('t', 12, F8)], rows), CloudOptions(time_field='t'))
    assert cloud.dropped == 2
    np.testing.assert_array_equal(cloud.points[:, 4], [1, 0])


def test_a_cloud_without_any_usable_time_is_refused():
    rows = [[(0, 0, 0, math.nan), (0, 0, 0, math.inf)]]
    with pytest.raises(TinyBevError, match='t is NaN or infinite in all points; expected finite'):
        decode_cloud(message([*XYZ, ('t', 12, F4)], rows), CloudOptions(time_field='t'))


def test_missing_time_is_refused():
    msg = encode_cloud(random_points(), (0, 0), '')
    with pytest.raises(TinyBevError, match=r"'intensity'\]; expected one named 'stamp'"):
        decode_cloud(msg, CloudOptions(time_field='stamp'))


@pytest.mark.parametrize(
    ('options', 'error'),
    [
        ({'intensity_field': ''}, "intensity_field is ''"),
        ({'missing_intensity': 'one'}, "missing_intensity is 'one'; expected 'zero' or 'error'"),
        ({'intensity_scale': 0}, 'intensity_scale is 0; expected a finite number above 0'),
        ({'intensity_scale': math.nan}, 'intensity_scale is nan'),
        ({'time_scale': -1.0}, 'time_scale is -1'),
        ({'time_scale': math.inf}, 'time_scale is inf'),
    ],
)
def test_wrong_options(options, error):
    with pytest.raises(TinyBevError, match=error):
        CloudOptions(**options)


# --- clouds without points, and refusals ------------------------------------------------


@pytest.mark.parametrize(
    'msg',
    [
        PointCloud2(),
        PointCloud2(height=1),
        PointCloud2(width=2**32 - 1, point_step=16, fields=[field(*spec) for spec in XYZI]),
    ],
)
def test_cloud_without_points_is_good(msg):
    cloud = decode_cloud(msg)
    assert (cloud.points.shape, cloud.points.dtype, cloud.dropped) == ((0, 4), np.float32, 0)
    assert decode_cloud(msg, CloudOptions(time_field='t')).points.shape == (0, 5)


def test_bytes_after_the_last_point_are_not_needed_and_not_read():
    points = random_points(6)
    msg = message(XYZI, points.reshape(2, 3, 4).tolist(), row_step=60)
    np.testing.assert_array_equal(decode_cloud(msg).points, points)
    msg.data = msg.data[:108]
    np.testing.assert_array_equal(decode_cloud(msg).points, points)
    msg.data = msg.data[:107]
    with pytest.raises(TinyBevError, match='data has 107 bytes; expected at least 108'):
        decode_cloud(msg)


def with_fields(*specs):
    return changed(GOOD, fields=[field(*spec) for spec in specs])


GOOD = encode_cloud(random_points(), (0, 0), '')


@pytest.mark.parametrize(
    ('msg', 'error'),
    [
        (changed(GOOD, point_step=0), 'point_step is 0; expected the bytes of one point'),
        (changed(GOOD, point_step=15), "field 'intensity' ends at byte 16; .* point_step of 15"),
        (changed(GOOD, row_step=799), 'row_step is 799; expected at least 800'),
        (changed(GOOD, row_step=1), 'row_step is 1; expected at least 800'),
        (changed(GOOD, width=51), 'row_step is 800; expected at least 816'),
        (changed(GOOD, width=51, row_step=0), 'data has 800 bytes; expected at least 816'),
        (changed(GOOD, height=2), 'data has 800 bytes; expected at least 1600'),
        (changed(GOOD, data=array.array('B')), 'data has 0 bytes; expected at least 800'),
        (with_fields(), r"fields are \[\]; expected one named 'x'"),
        (with_fields(*XYZ[:2]), r"fields are \['x', 'y'\]; expected one named 'z'"),
        (with_fields(*XYZI, ('intensity', 0, F4)), "field 'intensity' occurs 2 times"),
        (with_fields(*XYZ, XYZ[0]), "field 'x' occurs 2 times; expected once"),
        (with_fields(*XYZ, ('i', 12, 9)), "field 'i' has datatype 9; expected 1 to 8"),
        (with_fields(*XYZ, ('i', 12, 0)), "field 'i' has datatype 0; expected 1 to 8"),
        (with_fields(*XYZ, ('i', 12, F8)), "field 'i' ends at byte 20"),
        (with_fields(*XYZ, ('i', 2**32 - 1, F8)), "field 'i' ends at byte"),
        (with_fields(*XYZ, ('i', 8, F4, 2)), "field 'i' has count 2; expected 1"),
        (with_fields(('x', 0, 5), *XYZ[1:]), r"field 'x' has datatype 5; expected 7 \(float32\)"),
    ],
)
def test_refused(msg, error):
    with pytest.raises(TinyBevError, match=error) as info:
        decode_cloud(msg)
    assert '\n' not in str(info.value)


def test_doubled_field_that_is_not_needed_is_no_matter():
    msg = with_fields(*XYZI, ('ring', 0, 2), ('ring', 1, 2))
    assert len(decode_cloud(msg).points) == 50


@pytest.mark.parametrize(
    'spare',
    [
        ('', 12, 0, 0),
        ('', 12, 9),
        ('', 12, F4, 0),
        ('', 16, F4),
        ('pad', 12, F4, 2),
        ('rgb', 2**32 - 1, F8, 2**32 - 1),
    ],
)
def test_an_unused_field_may_be_anything(spare):
    expected = decode_cloud(GOOD).points
    np.testing.assert_array_equal(decode_cloud(with_fields(*XYZI, spare)).points, expected)
    np.testing.assert_array_equal(decode_cloud(with_fields(spare, *XYZI)).points, expected)


def test_count_0_is_one_value_as_in_pcl():
    zero = [(*spec, 0) for spec in XYZI]
    np.testing.assert_array_equal(
        decode_cloud(with_fields(*zero)).points, decode_cloud(GOOD).points
    )


@pytest.mark.parametrize('row_step', [0, 2**32 - 1])
def test_huge_declared_sizes_take_no_memory(row_step):
    msg = changed(GOOD, width=2**28 - 1, height=2**32 - 1, row_step=row_step)
    tracemalloc.start()
    with pytest.raises(TinyBevError, match='data has 800 bytes; expected at least 1844'):
        decode_cloud(msg)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6


# --- properties -------------------------------------------------------------------------


@st.composite
def layouts(draw):
    """(message, its fields, rows of point values), all by the struct module."""
    specs = [(name, draw(st.sampled_from([F4, F8]))) for name in 'xyz']
    others = st.sampled_from(['intensity', 'i', 'reflectivity', 'time', 'ring', 'rgb'])
    for name in draw(st.lists(others, unique=True, max_size=4)):
        specs.append((name, draw(st.sampled_from(list(CODES)))))
    specs = draw(st.permutations(specs))
    fields, end = [], 0
    for name, code in specs:
        offset = end + draw(st.integers(0, 5))
        fields.append((name, offset, code))
        end = offset + struct.calcsize('<' + CODES[code])
    height, width = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    point_step = end + draw(st.integers(0, 9))
    row_step = width * point_step + draw(st.integers(0, 9))
    point = st.tuples(*(value(code) for _, _, code in fields))
    row = st.lists(point, min_size=width, max_size=width)
    values = draw(st.lists(row, min_size=height, max_size=height))
    msg = message(fields, values, point_step, row_step, draw(st.booleans()))
    if row_step == width * point_step and draw(st.booleans()):
        msg.row_step = 0
    msg.is_dense = draw(st.booleans())
    return msg


def value(code: int) -> st.SearchStrategy:
    if code in (F4, F8):
        return st.one_of(
            # Much smaller values give no evidence of their byte order.
            st.floats(2**-10, 1e4, width=32 if code == F4 else 64),
            st.floats(-1e4, -(2**-10), width=32 if code == F4 else 64),
            st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0]),
        )
    numbers = np.iinfo(np.dtype(CODES[code]).newbyteorder('<'))
    return st.integers(int(numbers.min), int(numbers.max))


def read_point_by_point(msg, intensity, time):
    """Every point's x, y, z, intensity (and time) as Python floats."""
    order = '>' if msg.is_bigendian else '<'
    by_name = {f.name: f for f in msg.fields}
    row_step = msg.row_step or msg.width * msg.point_step
    data = bytes(msg.data)
    for r in range(msg.height):
        for c in range(msg.width):
            point = []
            for name in ['x', 'y', 'z', intensity, *([time] if time else [])]:
                at = r * row_step + c * msg.point_step
                if name is None:
                    point.append(0.0)
                else:
                    code = order + CODES[by_name[name].datatype]
                    point.append(struct.unpack_from(code, data, at + by_name[name].offset)[0])
            yield point


@settings(max_examples=150, deadline=None)
@given(layouts())
def test_any_layout_reads_as_struct_does(msg):
    names = [f.name for f in msg.fields]
    intensity = next((n for n in ('intensity', 'i', 'reflectivity') if n in names), None)
    time = 'time' if 'time' in names else ''
    points = list(read_point_by_point(msg, intensity, time))
    placed = [point for point in points if all(map(math.isfinite, point[:3]))]
    if not any(math.isfinite(point[3]) for point in placed):
        for point in placed:
            point[3] = 0.0
    kept = [point for point in points if all(map(math.isfinite, point))]
    options = CloudOptions(time_field=time)
    if time and not kept and any(math.isfinite(point[3]) for point in placed):
        with pytest.raises(TinyBevError, match='time is NaN or infinite in all points'):
            decode_cloud(msg, options)
        return
    cloud = decode_cloud(msg, options)
    assert cloud.dropped == msg.height * msg.width - len(kept)
    expected = np.array(kept, np.float64).reshape(len(kept), 5 if time else 4)
    if time and kept:
        expected[:, 4] -= expected[:, 4].min()
    assert cloud.points.tobytes() == expected.astype(np.float32).tobytes()


UINT32 = st.one_of(st.integers(0, 40), st.integers(0, 2**32 - 1), st.just(2**32 - 1))


@settings(max_examples=300, deadline=None)
@given(layouts(), st.data())
def test_mutated_messages_are_read_or_refused(msg, data):
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(
            st.sampled_from(['height', 'width', 'point_step', 'row_step', 'data', 'fields'])
        )
        if name == 'data':
            msg.data = msg.data[: data.draw(st.integers(0, len(msg.data)))]
        elif name == 'fields':
            fields = list(msg.fields)
            index = data.draw(st.integers(0, len(fields) - 1)) if fields else 0
            change = data.draw(
                st.sampled_from(['drop', 'double', 'name', 'offset', 'datatype', 'count'])
            )
            if not fields:
                continue
            if change == 'drop':
                del fields[index]
            elif change == 'double':
                fields.append(fields[index])
            elif change == 'name':
                fields[index].name = data.draw(st.sampled_from(['', 'x', 'time', 'a\nb', '\0']))
            elif change == 'datatype':
                fields[index].datatype = data.draw(st.integers(0, 255))
            else:
                setattr(fields[index], change, data.draw(UINT32))
            msg.fields = fields
        else:
            setattr(msg, name, data.draw(UINT32))
    options = data.draw(
        st.sampled_from([CloudOptions(), CloudOptions(time_field='time', intensity_scale=1e30)])
    )
    try:
        cloud = decode_cloud(msg, options)
    except TinyBevError as error:
        assert '\n' not in str(error)
    else:
        assert len(cloud.points) + cloud.dropped == msg.height * msg.width
        assert np.isfinite(cloud.points).all()
