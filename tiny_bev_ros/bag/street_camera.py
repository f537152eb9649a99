# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Camera beside the LiDAR of a simulated drive, as messages of a bag."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rclpy.serialization import serialize_message
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CameraInfo

from tiny_bev_ros.bag.reader import TF_STATIC, BagMessage
from tiny_bev_ros.messages.image import encode_image
from tiny_bev_ros.sim.sensors.lidar import Mounting, sensor_pose
from tiny_bev_ros.sim.sensors.pinhole_camera import PinholeCamera, render
from tiny_bev_ros.sim.world.colours import ground_colours, part_colours
from tiny_bev_ros.sim.world.scene import Scene

IMAGE, INFO, TF = '/camera/image', '/camera/camera_info', TF_STATIC
_TF_TYPE = 'tf2_msgs/msg/TFMessage'
CAMERA_TOPICS = {
    IMAGE: 'sensor_msgs/msg/Image',
    INFO: 'sensor_msgs/msg/CameraInfo',
    TF: _TF_TYPE,
}
FRAME = 'camera_optical'
_CAMERA = PinholeCamera((640, 240), 320.0, (319.5, 100.0))
# Position relative to the LiDAR: x ahead, y left, z up, in metres.
_POSITION = np.array([0.3, 0.0, -0.2])
_MARKED_FRACTION = 0.4
# Rotation of a camera whose optical axis points ahead: x, y, z, w.
_AHEAD = (-0.5, 0.5, -0.5, 0.5)


class StreetCamera:
    """Camera that renders images of a moving scene.

    Args:
        scene: scene at its beginning.
        seed: seed of the colours.
        frame: frame of the LiDAR.
    """

    def __init__(self, scene: Scene, seed: int, frame: str) -> None:
        # Some vehicles have the warning colour with which the demo network was trained.
        random = np.random.default_rng((seed, 6))
        vehicles = scene.objects['label'] == 0
        marked = vehicles & (random.random(len(vehicles)) < _MARKED_FRACTION)
        self._colours = (part_colours(scene, seed, marked), ground_colours(scene))
        self._frame = frame
        self._sent_tf = False

    def messages(
        self, scene: Scene, pose: tuple[float, float, float], time_ns: int, seed: int
    ) -> Iterator[BagMessage]:
        """Yields CameraInfo and image of one time, and at first the transform from the LiDAR.

        Args:
            scene: scene at that time.
            pose: x, y, yaw of the LiDAR.
            time_ns: time in nanoseconds.
            seed: seed of the pixel noise.
        """
        stamp = divmod(time_ns, 10**9)
        if not self._sent_tf:
            self._sent_tf = True
            yield BagMessage(TF, time_ns, _transform(self._frame, stamp))
        position, rotation = sensor_pose(scene, pose, Mounting())
        image = render(
            scene, self._colours, _CAMERA, position + rotation @ _POSITION, rotation, seed=seed
        )
        info = _info()
        info.header.frame_id = FRAME
        info.header.stamp.sec, info.header.stamp.nanosec = stamp
        yield BagMessage(INFO, time_ns, bytes(serialize_message(info)))
        message = encode_image(image, stamp, FRAME)
        yield BagMessage(IMAGE, time_ns, bytes(serialize_message(message)))


def _info() -> CameraInfo:
    k = _CAMERA.intrinsics()
    return CameraInfo(
        width=_CAMERA.size[0],
        height=_CAMERA.size[1],
        distortion_model='plumb_bob',
        d=[0.0] * 5,
        k=k,
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0],
    )


def _transform(frame: str, stamp: tuple[int, int]) -> bytes:
    """Returns the transform from LiDAR to camera, serialized by rosbags: tf2_msgs is optional."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types = store.types
    transform = types['geometry_msgs/msg/Transform'](
        translation=types['geometry_msgs/msg/Vector3'](*_POSITION.tolist()),
        rotation=types['geometry_msgs/msg/Quaternion'](*_AHEAD),
    )
    time = types['builtin_interfaces/msg/Time'](*stamp)
    header = types['std_msgs/msg/Header'](stamp=time, frame_id=frame)
    transform_stamped = types['geometry_msgs/msg/TransformStamped'](
        header=header, child_frame_id=FRAME, transform=transform
    )
    return bytes(store.serialize_cdr(types[_TF_TYPE](transforms=[transform_stamped]), _TF_TYPE))
