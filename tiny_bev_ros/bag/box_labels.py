# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Labelled boxes beside the clouds of a bag, for figures."""

from __future__ import annotations

import numpy as np
from rclpy.serialization import deserialize_message
from std_msgs.msg import Float32MultiArray

from tiny_bev_ros.bag.reader import Bag
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.detections import decode_detection_boxes

_TYPE = 'std_msgs/msg/Float32MultiArray'
# Label of box lists from other packages.
_CHANNELS = 'x,y,z,l,w,h,yaw'
_NEAR_NS = 20_000_000


def find_labels(bag: Bag, time_ns: int) -> np.ndarray | None:
    """Returns (N,7) float32 boxes of a bag within 20 ms of a time, or None.

    Reads lists as nodes publish them on `detection_boxes`, and rows whose second dimension is
    labelled ``x,y,z,l,w,h,yaw``: centre, length, width, height and yaw in the frame of the cloud.
    """
    topics = [topic.name for topic in bag.topics.values() if topic.type == _TYPE]
    best, nearest = None, _NEAR_NS
    for message in bag.messages(topics) if topics else ():
        away = abs(message.time_ns - time_ns)
        if away > nearest:
            continue
        try:
            boxes = _boxes(deserialize_message(message.data, Float32MultiArray))
        except Exception:  # noqa: S112 - rclpy raises several kinds for a damaged message
            continue
        if boxes is not None:
            best, nearest = boxes, away
    return best


def _boxes(message: Float32MultiArray) -> np.ndarray | None:
    dims = message.layout.dim
    if len(dims) == 2 and dims[1].label.startswith(_CHANNELS) and dims[1].size >= 7:
        values = np.frombuffer(message.data, np.float32)
        if values.size == dims[0].size * dims[1].size:
            return values.reshape(-1, dims[1].size)[:, :7]
        return None
    try:
        return decode_detection_boxes(message).boxes
    except TinyBevError:
        return None
