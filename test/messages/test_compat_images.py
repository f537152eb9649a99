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
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from sensor_msgs.msg import Image

from tiny_bev_ros.messages import compat
from tiny_bev_ros.messages.image import decode_image, encode_image
from tiny_bev_ros.optional_imports import import_optional

SIZES = {'rgb8': 3, 'bgr8': 3, 'rgba8': 4, 'bgra8': 4, 'mono8': 1}


@pytest.fixture(autouse=True)
def fresh_load():
    """Loads cv_bridge anew in each test and after the last one."""
    compat._load_bridge.cache_clear()
    import_optional.cache_clear()
    yield
    compat._load_bridge.cache_clear()
    import_optional.cache_clear()


def message(encoding: str, padding: int, is_bigendian: int = 0) -> Image:
    height, width = 4, 7
    step = width * SIZES[encoding] + padding
    msg = Image(height=height, width=width, encoding=encoding, step=step)
    msg.is_bigendian = is_bigendian
    data = np.random.default_rng(0).integers(0, 256, height * step, np.uint8)
    msg.data = array.array('B', data.tobytes())
    return msg


class Bridge:
    """A correct CvBridge that counts its calls."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def imgmsg_to_cv2(self, msg, desired_encoding):
        self.asked.append(msg.encoding)
        if msg.encoding not in SIZES:
            raise ValueError(f'[{msg.encoding}] is not a color format')
        assert desired_encoding == 'rgb8'
        assert msg.step % SIZES[msg.encoding] == 0
        assert len(msg.data) >= msg.height * msg.step
        return compat._numpy_pixels(msg)

    def cv2_to_imgmsg(self, rgb, encoding):
        self.asked.append(f'to {encoding}')
        return compat._numpy_message(rgb)


def install(monkeypatch, bridge_class) -> None:
    module = ModuleType('cv_bridge')
    module.CvBridge = bridge_class
    monkeypatch.setitem(sys.modules, 'cv_bridge', module)


def works_without_cv_bridge() -> bool:
    rgb = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    return np.array_equal(decode_image(encode_image(rgb, (0, 0), '')), rgb)


def test_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, 'cv_bridge', None)
    assert compat.cv_bridge_unavailable_reason() == 'cv_bridge is not installed'
    assert works_without_cv_bridge()


@pytest.mark.parametrize(
    'error',
    [
        ImportError('numpy.core.multiarray failed to import'),
        AttributeError('_ARRAY_API not found\nA module that was compiled using NumPy 1.x'),
        SystemError('initialization failed'),
    ],
)
def test_binary_that_does_not_load(monkeypatch, error):
    def fail():
        raise error

    install(monkeypatch, fail)
    reason = compat.cv_bridge_unavailable_reason()
    assert str(error).splitlines()[0] in reason
    assert '\n' not in reason
    assert works_without_cv_bridge()


def test_binary_that_loads_at_the_first_image_only(monkeypatch):
    class LateBridge(Bridge):
        def imgmsg_to_cv2(self, msg, desired_encoding):
            raise ImportError('numpy.core.multiarray failed to import')

    install(monkeypatch, LateBridge)
    assert 'multiarray failed' in compat.cv_bridge_unavailable_reason()
    assert works_without_cv_bridge()


def test_bridge_that_ignores_step(monkeypatch):
    class Ros1Bridge(Bridge):
        def imgmsg_to_cv2(self, msg, desired_encoding):
            size = SIZES[msg.encoding]
            unpadded = SimpleNamespace(
                height=msg.height,
                width=msg.width,
                encoding=msg.encoding,
                step=msg.width * size,
                data=msg.data,
            )
            return compat._numpy_pixels(unpadded)

    install(monkeypatch, Ros1Bridge)
    reason = compat.cv_bridge_unavailable_reason()
    assert reason == 'cv_bridge converts rgb8 with padded rows wrongly'


def test_bridge_that_makes_another_message(monkeypatch):
    class Bgr(Bridge):
        def cv2_to_imgmsg(self, rgb, encoding):
            return compat._numpy_message(rgb[..., ::-1])

    install(monkeypatch, Bgr)
    assert 'another message' in compat.cv_bridge_unavailable_reason()


def test_good_bridge_is_used(monkeypatch):
    bridge = Bridge()
    install(monkeypatch, lambda: bridge)
    assert compat.cv_bridge_unavailable_reason() is None
    bridge.asked.clear()
    rgb = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    msg = encode_image(rgb, (3, 4), 'bev')
    assert (msg.header.stamp.sec, msg.header.frame_id) == (3, 'bev')
    np.testing.assert_array_equal(decode_image(msg), rgb)
    assert bridge.asked == ['to rgb8', 'rgb8']


def test_known_faults_never_reach_it(monkeypatch):
    bridge = Bridge()
    install(monkeypatch, lambda: bridge)
    compat.cv_bridge_unavailable_reason()
    bridge.asked.clear()
    short = message('rgb8', padding=3)
    short.data = short.data[:-3]
    nameless = message('bgr8', 0)
    nameless.encoding = '8UC3'
    for msg in (message('rgb8', 1), message('bgra8', 2), message('bgr8', 0, 1), short, nameless):
        np.testing.assert_array_equal(decode_image(msg), compat._numpy_pixels(msg))
    assert bridge.asked == []


@pytest.fixture
def real_cv_bridge():
    reason = compat.cv_bridge_unavailable_reason()
    if reason:
        pytest.skip(reason)


@pytest.mark.usefixtures('real_cv_bridge')
@pytest.mark.parametrize('encoding', list(SIZES))
def test_real_cv_bridge_reads_as_numpy_does(encoding):
    for padding in (0, 1, 2, 3, 4, 12):
        for is_bigendian in (0, 1):
            msg = message(encoding, padding, is_bigendian)
            np.testing.assert_array_equal(compat.rgb_pixels(msg), compat._numpy_pixels(msg))


@pytest.mark.usefixtures('real_cv_bridge')
@pytest.mark.parametrize('view', [np.s_[:], np.s_[::-1, ::-1]])
def test_real_cv_bridge_writes_as_numpy_does(view):
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)[view]
    assert compat.image_message(rgb) == compat._numpy_message(rgb)
