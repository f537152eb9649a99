# SPDX-License-Identifier: Apache-2.0
"""Detected objects as a labelled std_msgs multi-array, for those without vision_msgs.

The format is docs/tensor_message.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from std_msgs.msg import Float32MultiArray

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages import wire
from tiny_bev_ros.messages.tensor_labels import (
    OBJECT_AXES,
    TensorLabels,
    parse_object_labels,
    write_object_labels,
)
from tiny_bev_ros.models.heads.detection import CLASSES, Detections

CHANNELS = ('x', 'y', 'z', 'length', 'width', 'height', 'yaw', 'score', 'class')
_MAX_BYTES = 2**20


@dataclass(frozen=True)
class ObjectList:
    """A decoded message of objects.

    Attributes:
        boxes: (N,7) float32 x, y, z of the middle, length, width, height, yaw; m and rad.
        scores: (N,) float32, 0 to 1.
        names: of the class of each.
        labels: stamp and frame.
    """

    boxes: np.ndarray
    scores: np.ndarray
    names: list[str]
    labels: TensorLabels


def encode_objects(found: Detections, labels: TensorLabels) -> Float32MultiArray:
    """Dimensions (N, 9): CHANNELS of each object, best first; class counts from 0.

    Raises:
        TinyBevError: a box is not finite.
    """
    table = np.column_stack(
        [found.boxes.numpy(), found.scores.numpy(), found.labels.numpy()]
    ).astype(np.float32)
    if not np.isfinite(table).all():
        raise TinyBevError('objects hold NaN or Inf; expected finite numbers')
    message, values = wire.message_for(
        table.shape, write_object_labels(labels, CLASSES), 'float32', None
    )
    values[...] = table
    return message


def decode_objects(msg: Any) -> ObjectList:
    """Reads a message of objects, of rclpy or of rosbags.

    Raises:
        TinyBevError: it contradicts itself, or is not finite.
    """
    labels, classes = parse_object_labels([dim.label for dim in msg.layout.dim])
    table = wire.stored_values(msg, list(OBJECT_AXES), _MAX_BYTES)
    if table.shape[1] != len(CHANNELS):
        raise TinyBevError(
            f'channel size is {table.shape[1]}; expected {len(CHANNELS)}: {", ".join(CHANNELS)}'
        )
    if not np.isfinite(table).all():
        raise TinyBevError('data holds NaN or Inf; expected finite numbers')
    numbers = table[:, 8]
    if ((numbers < 0) | (numbers >= len(classes)) | (numbers != np.floor(numbers))).any():
        raise TinyBevError(f'data holds a class that is not among {", ".join(classes)}')
    names = [classes[int(number)] for number in numbers]
    return ObjectList(table[:, :7], table[:, 7], names, labels)
