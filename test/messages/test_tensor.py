# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import array as pyarray
import re
import tracemalloc
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from std_msgs.msg import Float32MultiArray, MultiArrayDimension, MultiArrayLayout, UInt8MultiArray

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import Axis
from tiny_bev_ros.messages.detections import encode_detection_boxes
from tiny_bev_ros.messages.pillar_tensor import encode_pillars
from tiny_bev_ros.messages.tensor import (
    MESSAGE_TYPES,
    BevTensor,
    TensorLabels,
    decode_tensor,
    encode_tensor,
)
from tiny_bev_ros.messages.tensor_labels import CameraCalibration
from tiny_bev_ros.models.heads.detection import Detections

LABELS = TensorLabels((1700000000, 5), 'lidar', Axis(-2.0, 0.5), Axis(0.0, 0.25))
DOCUMENT = Path(__file__).resolve().parents[2] / 'docs' / 'tensor_message.md'


def ramp(*shape: int, dtype: str = 'float32') -> np.ndarray:
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


def dims_of(msg) -> list[tuple[str, int, int]]:
    return [(dim.label, dim.size, dim.stride) for dim in msg.layout.dim]


def plain(data, sizes, labels=None, strides=None, offset=0, message_type=Float32MultiArray):
    labels = labels or [''] * len(sizes)
    strides = strides or [0] * len(sizes)
    dims = [
        MultiArrayDimension(label=label, size=size, stride=stride)
        for label, size, stride in zip(labels, sizes, strides, strict=True)
    ]
    typecode = 'f' if message_type is Float32MultiArray else 'B'
    return message_type(
        layout=MultiArrayLayout(dim=dims, data_offset=offset),
        data=pyarray.array(typecode, np.asarray(data).tobytes()),
    )


def memory(msg) -> np.ndarray:
    return np.frombuffer(msg.data, np.uint8)


# Encoding


def test_float32_layout():
    msg = encode_tensor(ramp(2, 3, 4, 5), LABELS)
    assert type(msg) is Float32MultiArray
    assert dims_of(msg) == [
        ('batch;stamp=1700000000.000000005;frame_id=lidar', 2, 120),
        ('channel', 3, 60),
        ('height;origin=-2.0;step=0.5', 4, 20),
        ('width;origin=0.0;step=0.25', 5, 5),
    ]
    assert msg.layout.data_offset == 0
    assert type(msg.data) is pyarray.array and msg.data.typecode == 'f'
    assert msg.data.tolist() == list(range(120))


def test_float16_layout():
    msg = encode_tensor(ramp(2, 3, 4, 5), LABELS, 'float16')
    assert type(msg) is UInt8MultiArray
    assert [dim[1:] for dim in dims_of(msg)] == [(2, 240), (3, 120), (4, 40), (5, 10), (2, 2)]
    assert msg.layout.dim[4].label == 'byte;dtype=float16'
    assert type(msg.data) is pyarray.array and msg.data.typecode == 'B'
    assert msg.data[:6].tobytes() == b'\x00\x00\x00\x3c\x00\x40'  # 0, 1, 2, little-endian


@pytest.mark.parametrize('encoding', MESSAGE_TYPES)
@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_round_trip(encoding, dtype):
    array = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(dtype)
    tensor = decode_tensor(encode_tensor(array, LABELS, encoding), channels=3)
    assert tensor.labels == LABELS
    assert tensor.array.dtype == encoding
    np.testing.assert_array_equal(tensor.array, array.astype(encoding))


def test_any_strides_and_read_only():
    array = ramp(5, 4, 6, 2).transpose(3, 0, 2, 1)[:, ::-1, ::2]
    array.flags.writeable = False
    np.testing.assert_array_equal(decode_tensor(encode_tensor(array, LABELS)).array, array)


@pytest.mark.parametrize('encoding', MESSAGE_TYPES)
def test_kept_message_is_filled_again(encoding):
    first = encode_tensor(ramp(1, 2, 3, 4), LABELS, encoding)
    data, address = first.data, first.data.buffer_info()
    labels = TensorLabels((7, 8))
    second = encode_tensor(-ramp(1, 2, 4, 3), labels, encoding, first)
    assert second is first and second.data is data and data.buffer_info() == address
    tensor = decode_tensor(second)
    assert tensor.labels == labels
    np.testing.assert_array_equal(tensor.array, -ramp(1, 2, 4, 3))


@pytest.mark.parametrize('encoding', MESSAGE_TYPES)
def test_unfit_message_is_left_alone(encoding):
    for other, shape in (('float32', (1, 2, 3, 5)), ('float16', (1, 2, 3, 5))):
        unfit = encode_tensor(ramp(*shape), LABELS, other)
        before = memory(unfit).copy()
        msg = encode_tensor(ramp(1, 2, 3, 4), TensorLabels(), encoding, unfit)
        assert msg is not unfit and type(msg) is MESSAGE_TYPES[encoding]
        assert dims_of(unfit)[3][1] == 5
        np.testing.assert_array_equal(memory(unfit), before)


@pytest.mark.parametrize(
    'array, message',
    [
        (ramp(1, 2, 3), r'array shape is \(1, 2, 3\)'),
        (ramp(1, 0, 3, 3), r'array shape is \(1, 0, 3, 3\)'),
        (ramp(1, 1, 2, 2, dtype='float64'), 'array dtype is float64'),
        (ramp(1, 1, 2, 2, dtype='>f4'), 'array dtype is >f4'),
        (np.broadcast_to(np.float32(0), (2, 2**11, 2**10, 2**10)), 'expected at most 4294967295'),
    ],
)
def test_refused_arrays(array, message):
    with pytest.raises(TinyBevError, match=message):
        encode_tensor(array, LABELS)


def test_refused_encoding():
    with pytest.raises(TinyBevError, match="encoding is 'bfloat16'"):
        encode_tensor(ramp(1, 1, 1, 1), LABELS, 'bfloat16')


@pytest.mark.parametrize('encoding', MESSAGE_TYPES)
@pytest.mark.parametrize('dtype', ['float32', 'float16'])
@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_encoder_refuses_what_is_not_finite(encoding, dtype, value):
    array = ramp(1, 2, 3, 4, dtype=dtype)
    array[0, 1, 2, 3] = value
    place = 'batch 0, channel 1, height 2, width 3; expected a finite number'
    with pytest.raises(TinyBevError, match=f'array holds {value:g} at {place}'):
        encode_tensor(array, LABELS, encoding)


@pytest.mark.parametrize('value', [65520, -7e4, 3e38])
def test_beyond_float16_is_refused_and_names_the_value(value):
    array = ramp(1, 2, 3, 4)
    array[0, 1, 0, 2] = value
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with pytest.raises(TinyBevError, match=re.escape(f'array holds {value:g} at batch 0')):
            encode_tensor(array, LABELS, 'float16')
        encode_tensor(array, LABELS, 'float32')


def test_float16_rounds_to_nearest():
    array = np.array([65519, -65519, 1 + 2**-11, 1e-9], np.float32).reshape(1, 1, 2, 2)
    tensor = decode_tensor(encode_tensor(array, LABELS, 'float16'))
    assert tensor.array.ravel().tolist() == [65504, -65504, 1, 0]


@pytest.mark.parametrize('encoding', MESSAGE_TYPES)
@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_torch_tensors_of_any_strides(encoding, dtype):
    array = ramp(1, 2, 3, 8)
    tensor = torch.from_numpy(array).to(getattr(torch, dtype))[..., ::2]
    assert memory(encode_tensor(tensor, LABELS, encoding)).tobytes() == (
        memory(encode_tensor(array[..., ::2], LABELS, encoding)).tobytes()
    )
    tensor[0, 1, 2, 3] = float('nan')
    with pytest.raises(TinyBevError, match='nan at batch 0, channel 1, height 2, width 3'):
        encode_tensor(tensor, LABELS, encoding)


def test_torch_tensors_beyond_float16_are_refused():
    with pytest.raises(TinyBevError, match=r'holds 70000 at .* the range of float16'):
        encode_tensor(torch.full((1, 1, 2, 2), 7e4), LABELS, 'float16')
    with pytest.raises(TinyBevError, match='array dtype is float64; expected float32, float16 or'):
        encode_tensor(torch.zeros(1, 1, 2, 2, dtype=torch.float64), LABELS)


# Decoding


@pytest.mark.parametrize('encoding', MESSAGE_TYPES)
def test_decoded_array_is_a_view(encoding):
    msg = encode_tensor(ramp(1, 2, 3, 4), LABELS, encoding)
    assert np.shares_memory(decode_tensor(msg).array, memory(msg))


def test_three_dimensions_are_a_batch_of_one():
    tensor = decode_tensor(plain(ramp(24), (2, 3, 4)))
    assert tensor.labels == TensorLabels()
    np.testing.assert_array_equal(tensor.array, ramp(1, 2, 3, 4))


def test_labels_decide_the_order():
    msg = plain(ramp(24), (3, 4, 2), ['h', 'w', 'c'])
    tensor = decode_tensor(msg, channels=2)
    assert tensor.array.shape == (1, 2, 3, 4)
    assert np.shares_memory(tensor.array, memory(msg))
    np.testing.assert_array_equal(tensor.array[0], ramp(3, 4, 2).transpose(2, 0, 1))


def test_offset_and_padding():
    # Rows of 4 in 6, channels of 3 rows and a gap of 5, after three unused values.
    data = np.full(3 + 2 * 23, np.nan, np.float32)
    for c, h, w in np.ndindex(2, 3, 4):
        data[3 + 23 * c + 6 * h + w] = 100 * c + 10 * h + w
    msg = plain(data, (1, 2, 3, 4), strides=[46, 46, 23, 6], offset=3)
    array = decode_tensor(msg).array
    assert np.shares_memory(array, memory(msg))
    assert array[0, :, 1, 2].tolist() == [12, 112]
    assert array[0, 1].tolist() == [
        [100, 101, 102, 103],
        [110, 111, 112, 113],
        [120, 121, 122, 123],
    ]


@pytest.mark.parametrize('labels', [None, ['batch', 'channel', 'height', 'width']])
@pytest.mark.parametrize('offset', [0, 1, 2])
def test_float16_bytes_with_offset(labels, offset):
    values = ramp(1, 2, 3, 4, dtype='<f2')
    labels = [*(labels or [''] * 4), 'byte;dtype=float16']
    data = np.frombuffer(bytes(offset) + values.tobytes(), np.uint8)
    msg = plain(data, (1, 2, 3, 4, 2), labels, offset=offset, message_type=UInt8MultiArray)
    array = decode_tensor(msg).array
    assert array.dtype == np.float16 and array.flags.aligned
    assert np.shares_memory(array, memory(msg)) == (offset != 1)
    np.testing.assert_array_equal(array, values)


def test_torch_takes_the_result():
    for encoding in MESSAGE_TYPES:
        tensor = decode_tensor(encode_tensor(ramp(1, 2, 3, 4), LABELS, encoding))
        assert torch.equal(tensor.tensor.float(), torch.from_numpy(ramp(1, 2, 3, 4)))
        assert tensor.tensor.data_ptr() == tensor.array.ctypes.data


@pytest.mark.parametrize('encoding', MESSAGE_TYPES)
def test_rosbags_message(encoding):
    typesys = pytest.importorskip('rosbags.typesys')
    rclpy = pytest.importorskip('rclpy.serialization')
    store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
    msg = encode_tensor(ramp(1, 2, 3, 4), LABELS, encoding)
    name = f'std_msgs/msg/{type(msg).__name__}'
    read = store.deserialize_cdr(rclpy.serialize_message(msg), name)
    assert isinstance(read.data, np.ndarray)
    tensor = decode_tensor(read)
    assert isinstance(tensor, BevTensor) and tensor.labels == LABELS
    assert np.shares_memory(tensor.array, read.data)
    np.testing.assert_array_equal(tensor.array, ramp(1, 2, 3, 4))


def test_memoryview_is_data_too():
    layout = plain(ramp(24), (2, 3, 4)).layout
    msg = SimpleNamespace(layout=layout, data=memoryview(ramp(24)))
    np.testing.assert_array_equal(decode_tensor(msg).array, ramp(1, 2, 3, 4))


@pytest.mark.parametrize(
    'data, message',
    [
        ([0.0] * 24, 'data is list'),
        (ramp(24, dtype='float64'), "data is ndarray of 'd'"),
        (ramp(24, dtype='int8'), "data is ndarray of 'b'"),
        (ramp(24, dtype='>f4'), "data is ndarray of '>f'"),
        (ramp(48)[::2], "data is ndarray of 'f'"),
        (ramp(4, 6), "data is ndarray of 'f'"),
        (None, 'data is NoneType'),
    ],
)
def test_refused_data_types(data, message):
    layout = plain(ramp(24), (2, 3, 4)).layout
    with pytest.raises(TinyBevError, match=f'{message}; expected a flat array'):
        decode_tensor(SimpleNamespace(layout=layout, data=data))


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'data': ramp(23)}, 'data has 23 elements; expected .*0 .*24 of them'),
        ({'data': ramp(25)}, 'data has 25 elements; expected .*0 .*24 of them'),
        ({'data': ramp(0)}, 'data has 0 elements'),
        ({'sizes': (2, 3, 5)}, 'data has 24 elements; expected .*0 .*30 of them'),
        ({'offset': 1}, r'expected layout.data_offset 1 \+ layout.dim\[0\].stride 24'),
        ({'offset': 2**32 - 1}, 'expected layout.data_offset 4294967295'),
        ({'sizes': (0, 3, 4)}, r'layout.dim\[0\].size is 0'),
        ({'sizes': (2, 3, 0)}, r'layout.dim\[2\].size is 0'),
        ({'sizes': (2, 2**32 - 1, 2**32 - 1)}, 'bytes; expected at most 268435456'),
        ({'sizes': (2, 2**16, 2**16)}, 'bytes; expected at most 268435456'),
        ({'sizes': (3, 2, 4)}, r'layout.dim\[0\].size is 3 channels; expected 2'),
        ({'sizes': (24,)}, 'layout.dim has 1 entries; expected 3 or 4'),
        ({'sizes': ()}, 'layout.dim has 0 entries; expected 3 or 4'),
        ({'strides': [24, 12, 3]}, r'dim\[2\].stride is 3; expected at least 4'),
        ({'strides': [12, 4, 1]}, r'dim\[2\].stride is 1; expected at least 4'),  # as in NumPy
        ({'strides': [24, 12, 0]}, r'dim\[2\].stride is 0; expected at least 4'),
        ({'strides': [0, 12, 4]}, r'dim\[0\].stride is 0; expected at least 24'),
        ({'strides': [30, 12, 4]}, r'data has 24 elements; expected .*0 .*30 of them'),
        ({'strides': [26, 13, 4]}, r'data has 24 elements; expected .*0 .*26 of them'),
        ({'labels': ['channel', '', 'width']}, 'layout.dim labels are'),
        ({'labels': ['channel', 'height', 'byte;dtype=float16']}, 'no byte dimension'),
    ],
)
def test_refused_layouts(changes, message):
    arguments = {'data': ramp(24), 'sizes': (2, 3, 4)} | changes
    with pytest.raises(TinyBevError, match=message) as caught:
        decode_tensor(plain(**arguments), channels=2)
    assert len(str(caught.value).splitlines()) == 1


def test_negative_fields_are_refused():
    # ROS cannot send them, but a message made by hand can hold them.
    msg = plain(ramp(24), (2, 3, 4))
    good = [SimpleNamespace(label='', size=size, stride=0) for size in (2, 3, 4)]
    for dims, offset, message in (
        ([*good[:1], SimpleNamespace(label='', size=-3, stride=0), *good[2:]], 0, 'size is -3'),
        ([*good[:2], SimpleNamespace(label='', size=4, stride=-4)], 0, 'stride is'),
        (good, -1, 'data_offset -1'),
    ):
        layout = SimpleNamespace(dim=dims, data_offset=offset)
        with pytest.raises(TinyBevError, match=message):
            decode_tensor(SimpleNamespace(layout=layout, data=msg.data))


def test_plain_bytes_are_not_guessed_to_be_float16():
    msg = plain(bytes(24), (2, 3, 4), message_type=UInt8MultiArray)
    with pytest.raises(TinyBevError, match='byte;dtype=float16'):
        decode_tensor(msg)


def test_a_float16_has_two_bytes():
    labels = ['c', 'h', 'w', 'byte;dtype=float16']
    msg = plain(bytes(48), (1, 3, 4, 4), labels, message_type=UInt8MultiArray)
    with pytest.raises(TinyBevError, match=r'dim\[3\].size is 4; expected the 2 bytes'):
        decode_tensor(msg)


def test_largest_allowed_size():
    msg = encode_tensor(ramp(1, 2, 3, 4), LABELS)
    decode_tensor(msg, max_bytes=96)
    with pytest.raises(TinyBevError, match='96 bytes; expected at most 95'):
        decode_tensor(msg, max_bytes=95)
    padded = plain(ramp(1000), (2, 3, 4), strides=[1000, 12, 4])
    with pytest.raises(TinyBevError, match='at most 3999 bytes'):
        decode_tensor(padded, max_bytes=3999)


@pytest.mark.parametrize('encoding', MESSAGE_TYPES)
@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('place', [(0, 0, 0, 0), (0, 1, 300, 17), (0, 1, 511, 511)])
def test_decoder_refuses_what_is_not_finite(encoding, value, place):
    # Larger than one chunk of the check, so that each of its branches runs.
    msg = encode_tensor(np.zeros((1, 2, 512, 512), np.float32), LABELS, encoding)
    decode_tensor(msg)
    values = np.frombuffer(msg.data, encoding).reshape(1, 2, 512, 512)
    values[place] = value
    text = f'batch 0, channel {place[1]}, height {place[2]}, width {place[3]}'
    with pytest.raises(TinyBevError, match=f'data holds {value:g} at {text}'):
        decode_tensor(msg)


def test_not_finite_in_a_padded_and_transposed_message():
    data = np.full(400 * 500 * 3, np.nan, np.float32).reshape(400, 500, 3)
    data[:, :450] = 0
    strides = [600000, 1500, 3]
    decode_tensor(plain(data, (400, 450, 3), ['h', 'w', 'c'], strides))
    data[399, 449, 1] = np.inf
    with pytest.raises(TinyBevError, match='inf at batch 0, channel 1, height 399, width 449'):
        decode_tensor(plain(data, (400, 450, 3), ['h', 'w', 'c'], strides))


@pytest.mark.parametrize('encoding', MESSAGE_TYPES)
def test_no_large_temporary(encoding):
    array = np.ones((1, 16, 256, 512), np.float16)  # 8 MB as float32
    msg = encode_tensor(array, LABELS, encoding)
    tracemalloc.start()
    try:
        encode_tensor(array, LABELS, encoding, msg)
        decode_tensor(msg)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


# The document


@pytest.mark.parametrize('encoding', MESSAGE_TYPES)
def test_reader_of_the_document(encoding):
    code = re.search(r'```python\n(.*?)```', DOCUMENT.read_text(encoding='utf-8'), re.DOTALL)
    names: dict = {}
    exec(code[1], names)
    array, info = names['read'](encode_tensor(ramp(1, 2, 3, 4), LABELS, encoding))
    assert array.dtype == encoding
    np.testing.assert_array_equal(array, ramp(1, 2, 3, 4))
    assert info['batch'] == {'stamp': '1700000000.000000005', 'frame_id': 'lidar'}
    assert info['height'] == {'origin': '-2.0', 'step': '0.5'}


def test_dump_of_the_document():
    labels = TensorLabels((1317046429, 104921000), 'velodyne', Axis(-39.68, 0.32), Axis(0, 0.32))
    array = np.broadcast_to(np.float32(0), (1, 128, 248, 216))
    dumps = re.findall(r'```yaml\n(.*?)```', DOCUMENT.read_text(), re.DOTALL)
    features, pillars, camera, objects = dumps
    assert dumped_dims(features) == dims_of(encode_tensor(array, labels))
    finer = TensorLabels(labels.stamp, 'velodyne', Axis(-39.68, 0.16), Axis(0, 0.16))
    places = torch.stack([torch.arange(7000) // 432, torch.arange(7000) % 432], 1)
    message = encode_pillars(torch.zeros(7000, 64), places, (496, 432), finer)
    assert dumped_dims(pillars) == dims_of(message)
    calibration = CameraCalibration((90.2, 0, 75.7, 0, 90.2, 21.1, 0, 0, 1))
    seen = TensorLabels(labels.stamp, 'cam_left', calibration=calibration)
    seen_array = np.broadcast_to(np.float32(0), (1, 64, 48, 150))
    assert dumped_dims(camera) == dims_of(encode_tensor(seen_array, seen))
    found = Detections(torch.zeros(2, 7), torch.zeros(2), torch.zeros(2, dtype=torch.long))
    assert dumped_dims(objects) == dims_of(encode_detection_boxes(found, labels))


def dumped_dims(text: str) -> list[tuple[str, int, int]]:
    found = re.findall(r'- \{label: (.*?), size: (\d+), stride: (\d+)\}', text)
    return [(label.strip('"'), int(size), int(stride)) for label, size, stride in found]


def test_a_float16_with_an_odd_step_along_a_single_batch_is_for_pytorch_as_well():
    message = encode_tensor(ramp(1, 2, 1, 3), TensorLabels(), 'float16')
    wanted = decode_tensor(message).array.copy()
    dims = message.layout.dim
    # One byte is missing at the end of the only batch.
    dims[0].stride += 1
    dims[1].stride += 1
    message.data.append(0)
    decoded = decode_tensor(message)
    assert torch.equal(decoded.tensor, torch.from_numpy(wanted))
