# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""cv_bridge and sensor_msgs_py where they are usable, and NumPy replacements elsewhere.

Not every ``cv_bridge`` is usable: some binaries do not load beside NumPy 2, and the one of
ROS 1 ignores ``step``. So it must first convert a few small images as NumPy does. Images
that it is known to corrupt or to fail on are always converted by NumPy.

``dtype_from_fields`` and ``create_cloud`` of ``sensor_msgs_py`` are used where it is installed.
Its ``read_points`` is not: it ignores ``row_step``, keeps infinite points and trusts ``is_dense``.
"""

from __future__ import annotations

import array
import functools
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tiny_bev_ros.optional_imports import import_optional, note, one_line

if TYPE_CHECKING:
    from sensor_msgs.msg import Image, PointCloud2

# OpenCV types without colour order, which cv_bridge does not convert, and the encodings as which
# they are read, in the colour order of OpenCV.
COLOURLESS = {'8UC1': 'mono8', '8UC3': 'bgr8', '8UC4': 'bgra8'}
# Bytes per pixel, and the indices of red, green and blue, by encoding.
ENCODINGS: dict[str, tuple[int, tuple[int, int, int]]] = {
    'rgb8': (3, (0, 1, 2)),
    'bgr8': (3, (2, 1, 0)),
    'rgba8': (4, (0, 1, 2)),
    'bgra8': (4, (2, 1, 0)),
    'mono8': (1, (0, 0, 0)),
}
ENCODINGS |= {name: ENCODINGS[meant] for name, meant in COLOURLESS.items()}
_NUMPY_IMAGES = 'NumPy converts images'
# Constants of sensor_msgs/PointField, which is not installed everywhere.
FLOAT32, FLOAT64 = 7, 8
# NumPy type in the byte order of this machine, by PointField.datatype.
DATATYPES: dict[int, np.dtype] = {
    1: np.dtype(np.int8),
    2: np.dtype(np.uint8),
    3: np.dtype(np.int16),
    4: np.dtype(np.uint16),
    5: np.dtype(np.int32),
    6: np.dtype(np.uint32),
    FLOAT32: np.dtype(np.float32),
    FLOAT64: np.dtype(np.float64),
}
_POINT_CLOUD2 = ('sensor_msgs_py.point_cloud2', 'NumPy reads clouds')


def cv_bridge_unavailable_reason() -> str | None:
    """Returns one line if NumPy converts images; None if cv_bridge does."""
    return _load_bridge()[1]


def sensor_msgs_py_unavailable_reason() -> str | None:
    """Returns one line if NumPy reads clouds; None if sensor_msgs_py does."""
    return import_optional(*_POINT_CLOUD2).reason or None


def image_message(rgb: np.ndarray) -> Image:
    """Makes an rgb8 Image with an empty header.

    Args:
        rgb: (H, W, 3) uint8, H and W at least 1.
    """
    bridge, _ = _load_bridge()
    return _numpy_message(rgb) if bridge is None else bridge.cv2_to_imgmsg(rgb, encoding='rgb8')


def rgb_pixels(msg: Any) -> np.ndarray:
    """Returns the (H, W, 3) uint8 rgb pixels of an Image that was checked to be consistent."""
    bridge, _ = _load_bridge()
    # cv_bridge splits a row with its padding into whole pixels, swaps bytes even of 8-bit
    # images (by a call that NumPy 2 removed), and needs padding of the last row.
    clean_rows = msg.step % ENCODINGS[msg.encoding][0] == 0
    whole = memoryview(msg.data).nbytes >= msg.height * msg.step
    unfit = msg.is_bigendian or not (clean_rows and whole) or msg.encoding in COLOURLESS
    if bridge is None or unfit:
        return _numpy_pixels(msg)
    return bridge.imgmsg_to_cv2(msg, desired_encoding='rgb8')


def cloud_dtype(fields: Sequence[Any]) -> np.dtype:
    """Returns the structured dtype of some fields of one point.

    Args:
        fields: PointField messages with different names, known datatypes and count 1;
            ``sensor_msgs_py`` asserts on duplicates and zero counts.

    Returns:
        A dtype with each field at its offset, in the byte order of this machine. It ends
        after the last of the fields, so strides must have the point step.
    """
    module = import_optional(*_POINT_CLOUD2).module
    if module is not None:
        return module.dtype_from_fields(fields)
    return np.dtype(
        {
            'names': [field.name for field in fields],
            'formats': [DATATYPES[field.datatype] for field in fields],
            'offsets': [field.offset for field in fields],
        }
    )


def create_cloud(header: Any, fields: list[Any], points: np.ndarray) -> PointCloud2:
    """Makes an unorganised PointCloud2 of packed float32 points.

    Args:
        header: std_msgs Header.
        fields: K PointField messages, float32, count 1, offsets 0, 4, 8, ...
        points: (N, K) float32.
    """
    points = np.ascontiguousarray(points)
    module = import_optional(*_POINT_CLOUD2).module
    # create_cloud of sensor_msgs_py casts a memoryview, which fails on an empty one.
    if module is not None and len(points):
        return module.create_cloud(header, fields, points)
    from sensor_msgs.msg import PointCloud2

    point_step = 4 * len(fields)
    cloud = PointCloud2(
        header=header,
        height=1,
        width=len(points),
        fields=fields,
        is_bigendian=sys.byteorder != 'little',
        point_step=point_step,
        row_step=point_step * len(points),
        is_dense=False,
    )
    cloud.data = _byte_array(points)
    return cloud


@functools.cache
def _load_bridge() -> tuple[Any, str | None]:
    """Returns a CvBridge, or None and the reason."""
    module, why_not = import_optional('cv_bridge', _NUMPY_IMAGES)
    if module is None:
        return None, why_not
    try:
        bridge = module.CvBridge()
        for encoding in (name for name in ENCODINGS if name not in COLOURLESS):
            probe = _probe(encoding, ENCODINGS[encoding][0])
            if not np.array_equal(bridge.imgmsg_to_cv2(probe, 'rgb8'), _numpy_pixels(probe)):
                return _refuse_bridge(f'cv_bridge converts {encoding} with padded rows wrongly')
        rgb = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
        if bridge.cv2_to_imgmsg(rgb, encoding='rgb8') != _numpy_message(rgb):
            return _refuse_bridge('cv_bridge makes another message than expected')
    except Exception as error:  # an incompatible binary may raise anything
        return _refuse_bridge(f'cv_bridge cannot be used ({one_line(error)})')
    return bridge, None


def _refuse_bridge(why_not: str) -> tuple[None, str]:
    note(f'{why_not}: {_NUMPY_IMAGES}')
    return None, why_not


def _probe(encoding: str, size: int) -> Image:
    """Makes an image of 2 x 3 different pixels, each row followed by one pixel of padding."""
    from sensor_msgs.msg import Image

    probe = Image(height=2, width=3, encoding=encoding, step=4 * size)
    probe.data = array.array('B', range(8 * size))
    return probe


def _numpy_message(rgb: np.ndarray) -> Image:
    from sensor_msgs.msg import Image

    height, width, _ = rgb.shape
    msg = Image(height=height, width=width, encoding='rgb8', step=3 * width)
    msg.data = _byte_array(rgb)
    return msg


def _numpy_pixels(msg: Any) -> np.ndarray:
    size, order = ENCODINGS[msg.encoding]
    pixels: np.ndarray = np.ndarray(
        (msg.height, msg.width, size), np.uint8, memoryview(msg.data), strides=(msg.step, size, 1)
    )
    return np.stack([pixels[..., channel] for channel in order], axis=-1)


def _byte_array(values: np.ndarray) -> array.array[int]:
    """Copies an array to the type that an attribute of a message takes over unchecked.

    Other types are checked element by element, and arguments of the constructor copied.
    """
    data = array.array('B')
    data.frombytes(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    return data
