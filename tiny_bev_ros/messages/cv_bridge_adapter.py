# SPDX-License-Identifier: Apache-2.0
"""cv_bridge where it is installed and works, and the same in NumPy where it does not.

Not every ``cv_bridge`` is fit: some binaries do not load beside NumPy 2, and the one of
ROS 1 ignores ``step``. So it first has to convert a few small pictures as NumPy does.
Pictures that it is known to scramble or to fail on never reach it.
"""

from __future__ import annotations

import array
import functools
from typing import Any

import numpy as np
from sensor_msgs.msg import Image

from tiny_bev_ros.optional_imports import import_optional, note, one_line

# Types of OpenCV that name no colours, which cv_bridge therefore does not convert, and the
# encodings as which they are read: in OpenCV's order of colours.
COLOURLESS = {'8UC1': 'mono8', '8UC3': 'bgr8', '8UC4': 'bgra8'}
# Encoding -> bytes per pixel, and which of them are red, green and blue.
ENCODINGS: dict[str, tuple[int, tuple[int, int, int]]] = {
    'rgb8': (3, (0, 1, 2)),
    'bgr8': (3, (2, 1, 0)),
    'rgba8': (4, (0, 1, 2)),
    'bgra8': (4, (2, 1, 0)),
    'mono8': (1, (0, 0, 0)),
}
ENCODINGS |= {name: ENCODINGS[meant] for name, meant in COLOURLESS.items()}
_INSTEAD = 'NumPy converts images'


def unavailable_reason() -> str | None:
    """Why NumPy does the work, in one line; None where cv_bridge does it."""
    return _load()[1]


def image_message(rgb: np.ndarray) -> Image:
    """An rgb8 Image with an empty header.

    Args:
        rgb: (H, W, 3) uint8, H and W at least 1.
    """
    bridge, _ = _load()
    return _message(rgb) if bridge is None else bridge.cv2_to_imgmsg(rgb, encoding='rgb8')


def rgb_pixels(msg: Any) -> np.ndarray:
    """The (H, W, 3) uint8 rgb picture of an Image that was checked to be consistent."""
    bridge, _ = _load()
    # cv_bridge cuts a row into whole pixels, padding included, swaps bytes even of 8-bit
    # pictures (with a call that NumPy 2 has no longer), and wants the last row padded.
    clean_rows = msg.step % ENCODINGS[msg.encoding][0] == 0
    whole = memoryview(msg.data).nbytes >= msg.height * msg.step
    unfit = msg.is_bigendian or not (clean_rows and whole) or msg.encoding in COLOURLESS
    if bridge is None or unfit:
        return _pixels(msg)
    return bridge.imgmsg_to_cv2(msg, desired_encoding='rgb8')


@functools.cache
def _load() -> tuple[Any, str | None]:
    """(a CvBridge or None, why it is None)."""
    module, why_not = import_optional('cv_bridge', _INSTEAD)
    if module is None:
        return None, why_not
    try:
        bridge = module.CvBridge()
        for encoding in (name for name in ENCODINGS if name not in COLOURLESS):
            probe = _probe(encoding, ENCODINGS[encoding][0])
            if not np.array_equal(bridge.imgmsg_to_cv2(probe, 'rgb8'), _pixels(probe)):
                return _refused(f'cv_bridge converts {encoding} with padded rows wrongly')
        rgb = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
        if bridge.cv2_to_imgmsg(rgb, encoding='rgb8') != _message(rgb):
            return _refused('cv_bridge makes another message than expected')
    except Exception as error:  # a binary that does not fit may raise anything
        return _refused(f'cv_bridge cannot be used ({one_line(error)})')
    return bridge, None


def _refused(why_not: str) -> tuple[None, str]:
    note(f'{why_not}: {_INSTEAD}')
    return None, why_not


def _probe(encoding: str, size: int) -> Image:
    """A picture of 2 x 3 different pixels, each row followed by one pixel of padding."""
    probe = Image(height=2, width=3, encoding=encoding, step=4 * size)
    probe.data = array.array('B', range(8 * size))
    return probe


def _message(rgb: np.ndarray) -> Image:
    height, width, _ = rgb.shape
    msg = Image(height=height, width=width, encoding='rgb8', step=3 * width)
    # An array.array given as the attribute is taken over; anything else is checked
    # element by element.
    data = array.array('B')
    data.frombytes(np.ascontiguousarray(rgb).reshape(-1).data)
    msg.data = data
    return msg


def _pixels(msg: Any) -> np.ndarray:
    size, order = ENCODINGS[msg.encoding]
    pixels: np.ndarray = np.ndarray(
        (msg.height, msg.width, size), np.uint8, memoryview(msg.data), strides=(msg.step, size, 1)
    )
    return np.stack([pixels[..., channel] for channel in order], axis=-1)
