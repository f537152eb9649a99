# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Property-based tests of the tensor message.

``naive_read`` is a second reader, written from the std_msgs definition with one index
computation per value and nothing of the package. Whatever the decoder accepts must be
what it reads.
"""

from __future__ import annotations

import array as pyarray
import itertools
import math
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from std_msgs.msg import Float32MultiArray, MultiArrayDimension, MultiArrayLayout, UInt8MultiArray

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import Axis
from tiny_bev_ros.messages.tensor import TensorLabels, decode_tensor, encode_tensor
from tiny_bev_ros.messages.tensor_labels import CameraCalibration

# Derandomized: a correct change must not fail CI by chance. The number of examples suffices for
# each kind of mutation in every position.
ROUND_TRIPS = settings(deadline=None, derandomize=True, max_examples=250, database=None)
MUTATIONS = settings(deadline=None, derandomize=True, max_examples=2000, database=None)

NAMES = ('batch', 'channel', 'height', 'width')
ALIASES = {
    'batch': ('batch', 'Batch', 'n', 'b', 'N', 'B'),
    'channel': ('channel', 'CHANNEL', 'c', 'C'),
    'height': ('height', 'h', 'y', 'H', 'Y'),
    'width': ('width', 'w', 'x', 'W', 'X'),
    'byte': ('byte', 'BYTE'),
}
MEANING = {alias.lower(): name for name, aliases in ALIASES.items() for alias in aliases}

finite = st.floats(allow_nan=False, allow_infinity=False)
axes = st.builds(Axis, finite, st.floats(0, exclude_min=True, allow_infinity=False))
frames = st.text(st.characters(exclude_categories=['Cs']), max_size=12)
calibrations = st.builds(
    CameraCalibration, st.tuples(*[finite] * 9), st.just((0.0,) * 5) | st.tuples(*[finite] * 5)
)
labels_of_tensors = st.builds(
    TensorLabels,
    st.none() | st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 10**9 - 1)),
    st.none() | frames,
    st.none() | axes,
    st.none() | axes,
    st.none() | calibrations,
)
shapes = st.tuples(*[st.integers(1, 4)] * 4)
encodings = st.sampled_from(['float32', 'float16'])


@st.composite
def tensors(draw, dtype=None):
    """(B, C, H, W) of different small integers, which every encoding holds exactly."""
    shape = draw(shapes)
    start = draw(st.integers(-1000, 1000))
    values = np.arange(start, start + math.prod(shape)).reshape(shape)
    return values.astype(dtype or draw(encodings))


@ROUND_TRIPS
@given(array=tensors(), labels=labels_of_tensors, encoding=encodings, data=st.data())
def test_encode_decode(array, labels, encoding, data):
    flips = data.draw(st.tuples(*[st.sampled_from([1, -1])] * 4))
    array = array[tuple(slice(None, None, flip) for flip in flips)]
    kept = data.draw(st.none() | st.builds(encode_tensor, tensors(), labels_of_tensors, encodings))
    msg = encode_tensor(array, labels, encoding, kept)
    tensor = decode_tensor(msg, channels=array.shape[1])
    assert tensor.labels == labels
    assert tensor.array.dtype == encoding
    np.testing.assert_array_equal(tensor.array, array)
    assert all(dim.label.isascii() and dim.label.isprintable() for dim in msg.layout.dim)
    assert all(' ' not in dim.label for dim in msg.layout.dim)


@st.composite
def foreign_messages(draw):
    """A valid message as others may write it, its tensor and its labels."""
    encoding = draw(encodings)
    array = draw(tensors(encoding))
    rank = draw(st.sampled_from([3, 4]))
    if rank == 3:
        array = array[:1]
    labelled = draw(st.booleans())
    names = NAMES[-rank:]
    labels = TensorLabels()
    texts = dict.fromkeys(names, '')
    if labelled:
        names = tuple(draw(st.permutations(names)))
        labels = draw(labels_of_tensors)
        if rank == 3:
            labels = TensorLabels(None, None, labels.y_axis, labels.x_axis)
        for dim in encode_tensor(array, labels).layout.dim:
            name, *pairs = dim.label.split(';')
            # The order of pairs is irrelevant, and unknown keys may stand between them.
            pairs = draw(st.permutations([*pairs, *draw(st.sampled_from([[], ['new=1%20x']]))]))
            texts[name] = ';'.join([draw(st.sampled_from(ALIASES[name])), *pairs])
    order = [NAMES.index(name) for name in names]
    wire = array.transpose(order) if rank == 4 else array.transpose([0, *order])[0]

    dim_labels, sizes = [texts[name] for name in names], list(wire.shape)
    if encoding == 'float16':
        dim_labels, sizes = [*dim_labels, 'byte;dtype=float16'], [*sizes, 2]
    pads = draw(st.just([0] * len(sizes)) | st.tuples(*[st.integers(0, 3)] * len(sizes)))
    strides, below = [], 1
    for size, pad in zip(reversed(sizes), reversed(pads), strict=True):
        below = size * below + pad
        strides.insert(0, below)
    offset = draw(st.integers(0, 3))

    # Elements between the values are NaN (or 0xff): they must not be read.
    typecode, filler = ('f', math.nan) if encoding == 'float32' else ('B', 255)
    data = pyarray.array(typecode, [filler]) * (offset + strides[0])
    for index in np.ndindex(*wire.shape):
        place = offset + sum(i * s for i, s in zip(index, [*strides[1:], 1], strict=False))
        if encoding == 'float32':
            data[place] = float(wire[index])
        else:
            data[place : place + 2] = pyarray.array('B', wire[index].tobytes())
    if not any(pads) and draw(st.booleans()):
        strides = [0] * len(sizes)
    msg = make_message(dim_labels, sizes, strides, offset, data)
    return msg, array, labels


def make_message(labels, sizes, strides, offset, data):
    dims = [
        MultiArrayDimension(label=label, size=size, stride=stride)
        for label, size, stride in zip(labels, sizes, strides, strict=True)
    ]
    message_type = Float32MultiArray if data.typecode == 'f' else UInt8MultiArray
    return message_type(layout=MultiArrayLayout(dim=dims, data_offset=offset), data=data)


@ROUND_TRIPS
@given(foreign=foreign_messages())
def test_foreign_layouts(foreign):
    msg, array, labels = foreign
    tensor = decode_tensor(msg)
    assert tensor.labels == labels
    assert tensor.array.dtype == array.dtype
    np.testing.assert_array_equal(tensor.array, array)
    assert_same_as_naive(msg, tensor)


def naive_read(msg):
    """Values by (b, c, h, w), pairs by dimension; KeyError or IndexError where impossible."""
    dims, data = msg.layout.dim, msg.data
    names, pairs = [], {}
    for dim in dims:
        name, *rest = dim.label.split(';')
        names.append(MEANING[name.lower()] if dim.label else '')
        pairs[names[-1]] = dict(pair.split('=') for pair in rest)
    is_bytes = data.typecode == 'B'
    if is_bytes:
        assert names[-1] == 'byte' and pairs['byte']['dtype'] == 'float16' and dims[-1].size == 2
        del names[-1]
    if not any(names):
        names = list(NAMES[-len(names) :])
    assert sorted(names) == sorted(NAMES[-len(names) :])

    strides = [dim.stride for dim in dims]
    if not any(strides):
        strides = [math.prod(dim.size for dim in dims[i:]) for i in range(len(dims))]
    values, used = {}, set()
    for index in itertools.product(*(range(dim.size) for dim in dims[: len(names)])):
        place = msg.layout.data_offset
        for i, step in zip(index, [*strides[1:], 1], strict=False):
            place += i * step
        places = (place, place + 1) if is_bytes else (place,)
        assert used.isdisjoint(places)
        used.update(places)
        value = [data[i] for i in places]
        if is_bytes:
            value = [float(np.frombuffer(bytes(value), '<f2')[0])]
        assert math.isfinite(value[0])
        by_name = {'batch': 0} | dict(zip(names, index, strict=True))
        values[tuple(by_name[name] for name in NAMES)] = value[0]
    return values, pairs


def assert_same_as_naive(msg, tensor):
    values, pairs = naive_read(msg)
    assert tensor.array.shape == tuple(max(index) + 1 for index in zip(*values, strict=True))
    for index, value in values.items():
        assert tensor.array[index] == value
    labels = tensor.labels
    batch = pairs.get('batch', {})
    stamp = tuple(int(part) for part in batch['stamp'].split('.')) if 'stamp' in batch else None
    assert labels.stamp == stamp
    assert labels.frame_id == (unquote(batch['frame_id']) if 'frame_id' in batch else None)
    for name, axis in (('height', labels.y_axis), ('width', labels.x_axis)):
        read = pairs.get(name, {})
        expected = Axis(float(read['origin']), float(read['step'])) if 'origin' in read else None
        assert axis == expected and ('step' in read) == (axis is not None)
    assert (labels.calibration is not None) == ('k' in batch)
    if labels.calibration is not None:
        lens = batch.get('d', '0,0,0,0,0')
        for numbers, text in ((labels.calibration.k, batch['k']), (labels.calibration.d, lens)):
            assert list(numbers) == [float(unquote(part)) for part in text.split(',')]


NUMBERS = st.sampled_from(
    [0, 1, 2, 3, 4, 5, 6, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1]
)
GARBAGE = st.text(max_size=8) | st.sampled_from([
    'batch', 'channel', 'height', 'width', 'byte', 'n', 'X', 'time', 'byte;dtype=float16',
    'byte;dtype=float32', 'batch;stamp=1.5', 'batch;stamp=-1.000000000', 'batch;frame_id=%',
    'height;origin=1', 'width;step=0;origin=0', 'width;origin=nan;step=1', 'channel;',
    'height;origin=1e999;step=1', 'batch;;', 'y;origin=1;step=2', 'batch;stamp=0.000000000',
    'batch;k=1,0,0,0,1,0,0,0,1', 'batch;k=1,2', 'batch;d=0,0,0,0,0', 'width;k=1,0,0,0,1,0,0,0,1',
])  # fmt: skip
INSERTS = st.sampled_from(
    [';', '=', '%', '%41', '0', '9', '-', 'e', '.', ' ', '\n', '\ud800', 'é']
)


def mutate(msg, data):
    """Changes one thing of a message; returns the changed message."""
    dims = msg.layout.dim
    kinds = ['size', 'stride', 'label', 'letter', 'drop', 'repeat', 'swap'] if dims else []
    kinds += ['offset', 'cut', 'grow', 'value', 'type']
    kind = data.draw(st.sampled_from(kinds))
    if kind in ('size', 'stride', 'label', 'letter', 'drop', 'repeat', 'swap'):
        index = data.draw(st.integers(0, len(dims) - 1))
        dim = dims[index]
    if kind in ('size', 'stride'):
        near = st.integers(-2, 2).map(lambda step: max(0, getattr(dim, kind) + step))
        setattr(dim, kind, data.draw(NUMBERS | near))
    elif kind == 'label':
        dim.label = data.draw(GARBAGE)
    elif kind == 'letter':
        place = data.draw(st.integers(0, len(dim.label)))
        cut = data.draw(st.integers(0, 1))
        insert = data.draw(INSERTS | st.just(''))
        dim.label = dim.label[:place] + insert + dim.label[place + cut :]
    elif kind == 'drop':
        del dims[index]
    elif kind == 'repeat':
        dims.insert(index, MultiArrayDimension(label=dim.label, size=dim.size, stride=dim.stride))
    elif kind == 'swap':
        other = data.draw(st.integers(0, len(dims) - 1))
        dims[index], dims[other] = dims[other], dims[index]
    elif kind == 'offset':
        msg.layout.data_offset = data.draw(NUMBERS)
    elif kind == 'cut':
        del msg.data[data.draw(st.integers(0, len(msg.data))) :]
    elif kind == 'grow':
        msg.data.extend([7] * data.draw(st.integers(1, 8)))
    elif kind == 'value' and msg.data:
        index = data.draw(st.integers(0, len(msg.data) - 1))
        special = (
            [math.nan, math.inf, -math.inf, 0.0] if msg.data.typecode == 'f' else [0, 124, 255]
        )
        msg.data[index] = data.draw(st.sampled_from(special))
    elif kind == 'type':
        typecode = 'B' if msg.data.typecode == 'f' else 'f'
        values = [data.draw(st.integers(0, 100))] * len(msg.data)
        msg = make_message([], [], [], msg.layout.data_offset, pyarray.array(typecode, values))
        msg.layout.dim = dims
    return msg


@MUTATIONS
@given(foreign=foreign_messages(), count=st.integers(1, 3), data=st.data())
def test_mutated_message_is_refused_or_read_right(foreign, count, data):
    msg = foreign[0]
    for _ in range(count):
        msg = mutate(msg, data)
    try:
        tensor = decode_tensor(msg, max_bytes=2**20)
    except TinyBevError as error:
        assert len(str(error).splitlines()) == 1
        return
    assert_same_as_naive(msg, tensor)
    assert np.isfinite(tensor.array).all()


@ROUND_TRIPS
@given(foreign=foreign_messages(), data=st.data())
def test_cut_or_grown_data_is_refused(foreign, data):
    msg = foreign[0]
    if data.draw(st.booleans()):
        del msg.data[data.draw(st.integers(0, len(msg.data) - 1)) :]
    else:
        msg.data.extend([0] * data.draw(st.integers(1, 8)))
    with pytest.raises(TinyBevError, match=r'^data has '):
        decode_tensor(msg)
