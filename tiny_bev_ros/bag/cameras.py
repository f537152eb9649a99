# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Cameras of a bag: topics, and poses from its transforms."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_typestore

from tiny_bev_ros.bag.reader import Bag
from tiny_bev_ros.bag.storage_files import message_of
from tiny_bev_ros.errors import TinyBevError

IMAGE_TYPE = 'sensor_msgs/msg/Image'
INFO_TYPE = 'sensor_msgs/msg/CameraInfo'
TF_TYPE = 'tf2_msgs/msg/TFMessage'
Pose = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class BagCamera:
    """Topics of one camera.

    Attributes:
        image: topic of sensor_msgs/Image.
        info: topic of sensor_msgs/CameraInfo.
    """

    image: str
    info: str


def find_camera(bag: Bag, image: str = '') -> BagCamera:
    """Returns the camera with an image topic, or the only camera of a bag.

    Its CameraInfo lies in the namespace of the image, by the convention of image_transport.

    Raises:
        TinyBevError: there is no such topic, or there are several to choose from.
    """
    infos = {
        topic.name.rpartition('/')[0]: topic.name
        for topic in bag.topics.values()
        if topic.type == INFO_TYPE
    }
    found = [
        BagCamera(topic.name, infos[topic.name.rpartition('/')[0]])
        for topic in bag.topics.values()
        if topic.type == IMAGE_TYPE and topic.name.rpartition('/')[0] in infos
    ]
    named = [camera for camera in found if camera.image == image] if image else found
    if len(named) != 1:
        raise TinyBevError(
            f'image topic is {image!r}; expected one of '
            f'{[camera.image for camera in found]}, {IMAGE_TYPE} with a CameraInfo beside them'
        )
    return named[0]


def find_pose(bag: Bag, frame: str, child: str) -> list[float]:
    """Returns [x, y, z, qx, qy, qz, qw] of frame ``child`` in ``frame``, over any transforms.

    The first of several transforms between two frames counts: sensors are fixed to a robot.

    Raises:
        TinyBevError: no transforms connect the frames.
    """
    links = _links(bag)
    poses: dict[str, Pose] = {frame: (np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))}
    waiting = deque([frame])
    while waiting:
        current = waiting.popleft()
        for neighbour, pose in links.get(current, {}).items():
            if neighbour not in poses:
                poses[neighbour] = _compose(poses[current], pose)
                waiting.append(neighbour)
    if child not in poses:
        raise TinyBevError(
            f'transforms of the bag lead from {frame!r} to {sorted(poses)}; expected {child!r}'
        )
    position, rotation = poses[child]
    return [float(value) for value in (*position, *rotation)]


def _links(bag: Bag) -> dict[str, dict[str, Pose]]:
    """Returns by frame the poses of other frames in it: recorded ones and their inverses."""
    topics = [topic.name for topic in bag.topics.values() if topic.type == TF_TYPE]
    store = get_typestore(Stores.ROS2_JAZZY)
    links: dict[str, dict[str, Pose]] = {}
    for message in bag.messages(topics) if topics else ():
        try:
            tf: Any = store.deserialize_cdr(message.data, TF_TYPE)
        except Exception as error:  # rosbags raises several kinds for a damaged message
            raise TinyBevError(
                f'a message on {message.topic} of {bag.path} is damaged ({message_of(error)}); '
                f'expected {TF_TYPE}'
            ) from error
        for each in tf.transforms:
            parent, child = each.header.frame_id, each.child_frame_id
            translation, rotation = each.transform.translation, each.transform.rotation
            pose = (
                np.array([translation.x, translation.y, translation.z]),
                np.array([rotation.x, rotation.y, rotation.z, rotation.w]),
            )
            links.setdefault(parent, {}).setdefault(child, pose)
            links.setdefault(child, {}).setdefault(parent, _inverse(pose))
    return links


def _compose(first: Pose, second: Pose) -> Pose:
    """Composes two poses: first, then second in the frame of the first."""
    return first[0] + _rotate(first[1], second[0]), _product(first[1], second[1])


def _inverse(pose: Pose) -> Pose:
    back = pose[1] * np.array([-1, -1, -1, 1])
    return -_rotate(back, pose[0]), back


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the product of quaternions x, y, z, w."""
    vector = a[3] * b[:3] + b[3] * a[:3] + np.cross(a[:3], b[:3])
    return np.append(vector, a[3] * b[3] - a[:3] @ b[:3])


def _rotate(rotation: np.ndarray, position: np.ndarray) -> np.ndarray:
    back = rotation * np.array([-1, -1, -1, 1])
    return _product(_product(rotation, np.append(position, 0)), back)[:3]
