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
from types import SimpleNamespace

import numpy as np
import pytest
from sensor_msgs.msg import Image

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.image import decode_image, encode_image

# Indices of red, green and blue in a pixel, by encoding.
CHANNELS = {
    'rgb8': [0, 1, 2],
    'bgr8': [2, 1, 0],
    'rgba8': [0, 1, 2],
    'bgra8': [2, 1, 0],
    'mono8': [0, 0, 0],
    '8UC3': [2, 1, 0],
    '8UC4': [2, 1, 0],
    '8UC1': [0, 0, 0],
}
SIZES = {'rgb8': 3, 'bgr8': 3, 'rgba8': 4, 'bgra8': 4, 'mono8': 1, '8UC3': 3, '8UC4': 4, '8UC1': 1}


def pixels(height=3, width=5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def message(encoding='rgb8', height=3, width=5, padding=0, **changes) -> Image:
    size = SIZES.get(encoding, 3)
    step = width * size + padding
    data = np.random.default_rng(1).integers(0, 256, height * step, np.uint8)
    msg = Image(height=height, width=width, encoding=encoding, step=step)
    msg.data = array.array('B', data.tobytes())
    for name, value in changes.items():
        setattr(msg, name, value)
    return msg


def huge() -> Image:
    most = 2**32 - 1
    msg = Image(height=most, width=most // 3, encoding='rgb8', step=most)
    msg.data = array.array('B', bytes(16))
    return msg


def pixel_by_pixel(msg) -> list:
    data, size = bytes(msg.data), SIZES[msg.encoding]
    return [
        [
            [data[row * msg.step + col * size + c] for c in CHANNELS[msg.encoding]]
            for col in range(msg.width)
        ]
        for row in range(msg.height)
    ]


def test_encoded_message():
    rgb = pixels()
    msg = encode_image(rgb, (12, 345), 'bev')
    assert (msg.height, msg.width, msg.step) == (3, 5, 15)
    assert (msg.encoding, msg.is_bigendian) == ('rgb8', 0)
    assert (msg.header.stamp.sec, msg.header.stamp.nanosec) == (12, 345)
    assert msg.header.frame_id == 'bev'
    assert bytes(msg.data) == rgb.tobytes()


@pytest.mark.parametrize('view', [np.s_[:], np.s_[::-1, ::-1], np.s_[:, ::2]])
def test_round_trip(view):
    rgb = pixels()[view]
    decoded = decode_image(encode_image(rgb, (0, 0), ''))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, rgb)


@pytest.mark.parametrize('padding', [0, 1, 2, 3, 7, 12])
@pytest.mark.parametrize('encoding', list(CHANNELS))
def test_every_encoding_with_every_padding(encoding, padding):
    msg = message(encoding, padding=padding)
    np.testing.assert_array_equal(decode_image(msg), pixel_by_pixel(msg))


def test_last_row_needs_no_padding():
    msg = message(padding=6)
    msg.data = msg.data[:-6]
    np.testing.assert_array_equal(decode_image(msg), pixel_by_pixel(msg))


def test_byte_order_does_not_matter_to_bytes():
    little, big = message('bgr8'), message('bgr8', is_bigendian=1)
    np.testing.assert_array_equal(decode_image(big), decode_image(little))


@pytest.mark.parametrize('kind', [bytes, memoryview, lambda data: np.frombuffer(data, np.uint8)])
def test_any_buffer(kind):
    msg = message('bgra8', padding=3)
    plain = SimpleNamespace(
        height=msg.height,
        width=msg.width,
        encoding=msg.encoding,
        step=msg.step,
        is_bigendian=0,
        data=kind(bytes(msg.data)),
    )
    np.testing.assert_array_equal(decode_image(plain), decode_image(msg))


@pytest.mark.parametrize(
    ('msg', 'error'),
    [
        (message(encoding='16UC1'), r"encoding is '16UC1'; expected one of rgb8, bgr8"),
        (message(encoding=''), r"encoding is ''; expected"),
        (message(encoding='yuv422'), r"is 'yuv422'; expected one of rgb8, .*, 8UC1, 8UC3, 8UC4$"),
        (message(encoding='8SC3'), r"is '8SC3'; expected one of"),
        (message(height=0), r'height is 0; expected at least 1'),
        (message(width=0), r'width is 0; expected at least 1'),
        (message(step=14), r'step is 14; expected at least 15'),
        (message(step=0), r'step is 0; expected at least 15'),
        (message(height=3, data=array.array('B', bytes(44))), r'data has 44 bytes; .* least 45'),
        (huge(), r'data has 16 bytes'),
        (SimpleNamespace(encoding='mono8', height=1, width=1, step=1, data=[1]), 'data is a list'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_refused(msg, error):
    with pytest.raises(TinyBevError, match=error) as info:
        decode_image(msg)
    assert '\n' not in str(info.value)


@pytest.mark.parametrize(
    'rgb',
    [
        np.zeros((2, 2), np.uint8),
        np.zeros((2, 2, 4), np.uint8),
        np.zeros((0, 2, 3), np.uint8),
        np.zeros((2, 2, 3), np.float32),
    ],
)
def test_other_arrays_are_not_encoded(rgb):
    with pytest.raises(TinyBevError, match=r'expected \(H, W, 3\) uint8'):
        encode_image(rgb, (0, 0), '')
