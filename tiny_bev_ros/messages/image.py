# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""sensor_msgs/Image to rgb pixels and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from sensor_msgs.msg import Image

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.compat import ENCODINGS, image_message, rgb_pixels
from tiny_bev_ros.messages.message_fields import Stamp, byte_view, make_header


def encode_image(rgb: np.ndarray, stamp: Stamp, frame_id: str) -> Image:
    """Encodes an Image with encoding rgb8 and unpadded rows.

    Args:
        rgb: (H, W, 3) uint8.
        stamp: seconds and nanoseconds.
        frame_id: coordinate frame.

    Raises:
        TinyBevError: rgb has another shape or type, or no pixels.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0 or rgb.dtype != np.uint8:
        raise TinyBevError(
            f'rgb is {rgb.shape} {rgb.dtype}; expected (H, W, 3) uint8 with H and W above 0'
        )
    msg = image_message(rgb)
    msg.header = make_header(stamp, frame_id)
    return msg


def decode_image(msg: Any) -> np.ndarray:
    """Decodes an Image, with any row padding, to (H, W, 3) uint8 rgb.

    Encodings rgb8, bgr8, rgba8, bgra8 (alpha is dropped) and mono8 (three equal
    channels) are read, and 8UC3, 8UC4 and 8UC1 as bgr8, bgra8 and mono8. The result may be
    a view of the data of the message.

    Args:
        msg: a sensor_msgs/Image of rclpy, or an object with the same attributes;
            ``data`` is anything with the buffer protocol.

    Raises:
        TinyBevError: another encoding, no pixels, a step too small for the width, or
            less data than the sizes ask for.
    """
    if msg.encoding not in ENCODINGS:
        raise TinyBevError(f'encoding is {msg.encoding!r}; expected one of {", ".join(ENCODINGS)}')
    height, width, step = int(msg.height), int(msg.width), int(msg.step)
    for name, value in (('height', height), ('width', width)):
        if value == 0:
            raise TinyBevError(f'{name} is 0; expected at least 1')
    row = width * ENCODINGS[msg.encoding][0]
    if step < row:
        raise TinyBevError(
            f'step is {step}; expected at least {row} (width {width}, {msg.encoding})'
        )
    sizes = f'height {height}, step {step}, width {width}, {msg.encoding}'
    byte_view(msg.data, (height - 1) * step + row, sizes)
    return rgb_pixels(msg)
