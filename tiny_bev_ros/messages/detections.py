# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Detections as vision_msgs, as a labelled multi-array and as RViz markers.

docs/tensor_message.md defines the multi-array, which is for users without vision_msgs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from std_msgs.msg import ColorRGBA, Float32MultiArray
from visualization_msgs.msg import Marker, MarkerArray

from tiny_bev_ros.class_colours import CLASS_COLOURS
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages import multi_array
from tiny_bev_ros.messages.label_parser import parse_detection_labels
from tiny_bev_ros.messages.tensor_labels import (
    DETECTION_AXES,
    TensorLabels,
    format_detection_labels,
)
from tiny_bev_ros.models.heads.detection import CLASSES, Detections
from tiny_bev_ros.optional_imports import import_optional

CHANNELS = ('x', 'y', 'z', 'length', 'width', 'height', 'yaw', 'score', 'class')
_MAX_BYTES = 2**20
_BOX_OPACITY = 0.45
# Markers are shown for three times the time between two frames, within these bounds.
_FRAMES_SHOWN, _MIN_LIFETIME_S, _MAX_LIFETIME_S = 3, 1.0, 10.0


@dataclass(frozen=True)
class DetectionBoxes:
    """A decoded multi-array of detections.

    Attributes:
        boxes: (N,7) float32 x, y, z of the centre, length, width, height, yaw; m and rad.
        scores: (N,) float32, 0 to 1.
        names: class name of each.
        labels: stamp and frame.
    """

    boxes: np.ndarray
    scores: np.ndarray
    names: list[str]
    labels: TensorLabels


def encode_detection_boxes(detections: Detections, labels: TensorLabels) -> Float32MultiArray:
    """Encodes detections as a multi-array (N, 9): CHANNELS of each, best first; classes from 0.

    Args:
        detections: detections of one frame.
        labels: stamp and frame.

    Raises:
        TinyBevError: a box is not finite.
    """
    table = np.column_stack(
        [detections.boxes.numpy(), detections.scores.numpy(), detections.labels.numpy()]
    ).astype(np.float32)
    _check_finite('detections', table)
    message, values = multi_array.allocate_message(
        table.shape, format_detection_labels(labels, CLASSES), 'float32', None
    )
    values[...] = table
    return message


def decode_detection_boxes(msg: Any) -> DetectionBoxes:
    """Decodes a multi-array of detections, of rclpy or of rosbags.

    Raises:
        TinyBevError: it contradicts itself, or is not finite.
    """
    labels, classes = parse_detection_labels([dim.label for dim in msg.layout.dim])
    table = multi_array.strided_view(msg, list(DETECTION_AXES), _MAX_BYTES)
    if table.shape[1] != len(CHANNELS):
        raise TinyBevError(
            f'channel size is {table.shape[1]}; expected {len(CHANNELS)}: {", ".join(CHANNELS)}'
        )
    _check_finite('data', table)
    numbers = table[:, 8]
    if ((numbers < 0) | (numbers >= len(classes)) | (numbers != np.floor(numbers))).any():
        raise TinyBevError(
            f'data holds an unknown class number; expected one of {", ".join(classes)}'
        )
    names = [classes[int(number)] for number in numbers]
    return DetectionBoxes(table[:, :7], table[:, 7], names, labels)


def vision_msgs() -> Any:
    """Returns the module vision_msgs.msg, or None where it cannot be used."""
    return import_optional('vision_msgs.msg', 'there is no topic detections').module


def encode_detections(detections: Detections, labels: TensorLabels) -> Any:
    """Encodes a Detection3DArray, best first; class_id is the class name.

    Args:
        detections: detections of one frame.
        labels: stamp and frame.
    """
    msgs, header = vision_msgs(), labels.to_header()
    message = msgs.Detection3DArray(header=header)
    for box, score, label in zip(
        detections.boxes.tolist(),
        detections.scores.tolist(),
        detections.labels.tolist(),
        strict=True,
    ):
        result = msgs.ObjectHypothesisWithPose()
        result.hypothesis.class_id = CLASSES[label]
        result.hypothesis.score = score
        result.pose.pose = _pose(box)
        bounds = msgs.BoundingBox3D(center=_pose(box), size=_size(box))
        message.detections.append(msgs.Detection3D(header=header, results=[result], bbox=bounds))
    return message


def encode_markers(detections: Detections, labels: TensorLabels, lifetime_s: float) -> MarkerArray:
    """Encodes a box and a heading arrow per detection, after a marker that deletes older ones.

    Args:
        detections: detections of one frame.
        labels: stamp and frame.
        lifetime_s: time in seconds after which RViz removes the markers.
    """
    header = labels.to_header()
    markers = encode_no_markers(labels).markers
    lifetime = Duration(sec=int(lifetime_s), nanosec=int(lifetime_s % 1 * 1e9))
    rows = zip(detections.boxes.tolist(), detections.labels.tolist(), strict=True)
    for number, (box, label) in enumerate(rows):
        name = CLASSES[label]
        red, green, blue = CLASS_COLOURS[name]
        both = {
            'header': header,
            'id': number,
            'action': Marker.ADD,
            'pose': _pose(box),
            'lifetime': lifetime,
        }
        markers.append(
            Marker(
                ns=name,
                type=Marker.CUBE,
                scale=_size(box),
                color=ColorRGBA(r=red, g=green, b=blue, a=_BOX_OPACITY),
                **both,
            )
        )
        arrow = Marker(ns=f'{name} heading', type=Marker.ARROW, **both)
        arrow.scale.x, arrow.scale.y, arrow.scale.z = box[3] * 0.75, 0.12, 0.12
        arrow.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
        markers.append(arrow)
    return MarkerArray(markers=markers)


def marker_lifetime_s(gap_s: float) -> float:
    """Returns the lifetime in seconds with which markers last until the next.

    Args:
        gap_s: time between the stamps of the last frame and of this one, in seconds; 0 if unknown.
    """
    return min(max(_FRAMES_SHOWN * gap_s, _MIN_LIFETIME_S), _MAX_LIFETIME_S)


def encode_no_markers(labels: TensorLabels) -> MarkerArray:
    """Encodes a marker that deletes all others.

    Args:
        labels: stamp and frame.
    """
    header = labels.to_header()
    return MarkerArray(markers=[Marker(header=header, action=Marker.DELETEALL)])


def _pose(box: list[float]) -> Pose:
    """Returns the pose of the centre of a box [x, y, z, length, width, height, yaw]."""
    x, y, z, _, _, _, yaw = box
    return Pose(
        position=Point(x=x, y=y, z=z),
        orientation=Quaternion(x=0.0, y=0.0, z=math.sin(yaw / 2), w=math.cos(yaw / 2)),
    )


def _size(box: list[float]) -> Vector3:
    """Returns length along x, width along y and height of a box."""
    return Vector3(x=box[3], y=box[4], z=box[5])


def _check_finite(name: str, array: np.ndarray) -> None:
    """Raises TinyBevError when an array holds NaN or infinity."""
    if not np.isfinite(array).all():
        raise TinyBevError(f'{name} holds NaN or Inf; expected finite numbers')
