# SPDX-License-Identifier: Apache-2.0
"""Detected objects as vision_msgs/Detection3DArray, where that package is installed."""

from __future__ import annotations

import math
from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from std_msgs.msg import Header

from tiny_bev_ros.messages.tensor_labels import TensorLabels
from tiny_bev_ros.models.heads.detection import CLASSES, Detections
from tiny_bev_ros.optional_imports import import_optional


def vision_msgs() -> Any:
    """The messages of vision_msgs, or None where it cannot be used."""
    return import_optional('vision_msgs.msg', 'there is no topic detections').module


def header_of(labels: TensorLabels) -> Header:
    """Stamp and frame as a header."""
    sec, nanosec = labels.stamp or (0, 0)
    return Header(stamp=Time(sec=sec, nanosec=nanosec), frame_id=labels.frame_id or '')


def pose_of(box: list[float]) -> Pose:
    """Where the middle of a box [x, y, z, length, width, height, yaw] is, and its heading."""
    x, y, z, _, _, _, yaw = box
    return Pose(
        position=Point(x=x, y=y, z=z),
        orientation=Quaternion(x=0.0, y=0.0, z=math.sin(yaw / 2), w=math.cos(yaw / 2)),
    )


def size_of(box: list[float]) -> Vector3:
    """Length along x, width along y, height."""
    return Vector3(x=box[3], y=box[4], z=box[5])


def encode_detections(found: Detections, labels: TensorLabels) -> Any:
    """A Detection3DArray, best first; class_id is the name of the class."""
    msgs, header = vision_msgs(), header_of(labels)
    message = msgs.Detection3DArray(header=header)
    for box, score, label in zip(
        found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True
    ):
        result = msgs.ObjectHypothesisWithPose()
        result.hypothesis.class_id = CLASSES[label]
        result.hypothesis.score = score
        result.pose.pose = pose_of(box)
        bounds = msgs.BoundingBox3D(center=pose_of(box), size=size_of(box))
        message.detections.append(msgs.Detection3D(header=header, results=[result], bbox=bounds))
    return message
