# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Subscriptions to camera images, each of which is matched with the camera_info of its time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sensor_msgs.msg import CameraInfo, Image

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.camera_info import decode_camera_info
from tiny_bev_ros.messages.compat import COLOURLESS
from tiny_bev_ros.messages.image import decode_image
from tiny_bev_ros.messages.message_fields import Stamp, stamp_of
from tiny_bev_ros.models.camera.geometry import Camera
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.camera_sync import CameraInput
from tiny_bev_ros.runtime.adaptive_subscription import LatchedSubscription
from tiny_bev_ros.runtime.camera_info_sync import CameraInfoSync
from tiny_bev_ros.runtime.staleness import to_nanoseconds
from tiny_bev_ros.runtime.stats import CameraStats, InputStats
from tiny_bev_ros.runtime.subscription import LatestInput, SafeSubscription

IMAGE_TYPES: dict[str, type] = {'sensor_msgs/msg/Image': Image}
_INFO_TYPES: dict[str, type] = {'sensor_msgs/msg/CameraInfo': CameraInfo}
# Queue depth: the callback only decodes a message, so few wait.
_INFO_DEPTH = 5


@dataclass(frozen=True)
class CameraImage:
    """An image, decoded when it is needed, with the camera that took it.

    Attributes:
        message: sensor_msgs/Image.
        camera: calibration, in the camera's own optical frame.
        stamp: (sec, nanosec).
        frame_id: optical frame.
        received_ns: time of arrival by time.monotonic_ns.
    """

    message: Any
    camera: Camera
    stamp: Stamp
    frame_id: str
    received_ns: int

    def rgb(self) -> np.ndarray:
        """Returns the pixels, (H,W,3) uint8.

        Raises:
            TinyBevError: the image cannot be decoded.
        """
        return decode_image(self.message)


class CameraInfoSubscription(SafeSubscription):
    """Matches each image of a camera with the `camera_info` of its time.

    Args:
        node: node that subscribes.
        topics: topics of the camera_info and of the image.
        stats: counts of the images.
        on_match: receives each image with its camera.
    """

    subscription = LatchedSubscription

    def __init__(
        self,
        node: BevNode,
        topics: tuple[str, str],
        stats: InputStats,
        on_match: Callable[[CameraImage], None],
    ) -> None:
        info_topic, self._image_topic = topics
        self._image_stats, self._on_match = stats, on_match
        self._sync: CameraInfoSync[tuple[Image, int], Camera]
        self._sync = CameraInfoSync(self._match, lambda image, reason: self._reject(reason))
        self._max_bytes = node.values['max_message_mb'] * 2**20
        self._logger = node.get_logger()
        self._warned_encodings: set[str] = set()
        options = node.input_options()
        super().__init__(
            node,
            info_topic,
            _INFO_TYPES,
            _stamped_camera,
            self._put_info,
            reliability=options['reliability'],
            group=options['group'],
            depth=_INFO_DEPTH,
            is_active=lambda: True,
            stats=InputStats(node.get_logger(), time.monotonic_ns),
        )

    def put(self, message: Image) -> None:
        """Passes an image on as soon as its camera_info has arrived; counts rejected images."""
        size = len(message.data)
        if size > self._max_bytes:
            self._reject(f'data has {size} bytes; expected at most {self._max_bytes}')
            return
        received = message, time.monotonic_ns()
        stamp_ns = to_nanoseconds(stamp_of(message))
        self._sync.add_image(stamp_ns, (message.width, message.height), received)

    def destroy(self) -> None:
        """Ends the subscription; images that still wait are dropped."""
        super().destroy()
        for _ in range(self._sync.stop()):
            self._image_stats.count_dropped('stopped')

    def _put_info(self, stamped: tuple[int, Camera]) -> None:
        stamp_ns, camera = stamped
        self._sync.add_camera_info(stamp_ns, camera.size, camera)

    def _match(self, received: tuple[Image, int], camera: Camera) -> None:
        message, received_ns = received
        encoding = message.encoding
        if encoding in COLOURLESS and encoding not in self._warned_encodings:
            self._warned_encodings.add(encoding)
            self._logger.warning(
                f'{self._image_topic} has encoding {encoding}, which names no colours: '
                f'read as {COLOURLESS[encoding]}'
            )
        frame_id = message.header.frame_id
        self._on_match(CameraImage(message, camera, stamp_of(message), frame_id, received_ns))

    def _reject(self, reason: str) -> None:
        self._image_stats.count_rejected(self._image_topic, TinyBevError(reason))


class _WithCameraInfo(SafeSubscription):
    """Subscription to images that are useless without the camera_info of their time."""

    _info: CameraInfoSubscription

    @property
    def sources(self) -> list[str]:
        """Topics and types to which it subscribes."""
        return [*super().sources, *self._info.sources]

    def destroy(self) -> None:
        """Ends both subscriptions."""
        self._info.destroy()
        super().destroy()

    def _handle(self, message: Image) -> None:
        self._info.put(message)


class ImageSubscription(_WithCameraInfo, LatestInput):
    """Passes on the newest image with the camera_info of its time.

    Args:
        node: node that subscribes.
        callback: receives each CameraImage.
    """

    def __init__(self, node: BevNode, callback: Callable[[CameraImage], None]) -> None:
        options = node.input_options()
        topics = ('camera_info', 'image')
        self._info = CameraInfoSubscription(node, topics, options['stats'], self._put)
        super().__init__(node, 'image', IMAGE_TYPES, _identity, callback, **options)

    def _put(self, image: CameraImage) -> None:
        self._worker.put((image, image.received_ns))


class PairedCameraSubscription(_WithCameraInfo, CameraInput):
    """Keeps images with the camera_info of their time until a map of their time comes.

    Args:
        node: node that subscribes.
        name: name of the camera.
        stats: counts of the camera's images.
        keep: receives each CameraImage.
    """

    def __init__(
        self,
        node: BevNode,
        name: str,
        stats: CameraStats,
        keep: Callable[[CameraImage], None],
    ) -> None:
        topics = (f'{name}/camera_info', f'{name}/image')
        self._info = CameraInfoSubscription(node, topics, stats, keep)
        super().__init__(node, topics[1], IMAGE_TYPES, _identity, keep, stats)


def _stamped_camera(message: CameraInfo) -> tuple[int, Camera]:
    return to_nanoseconds(stamp_of(message)), decode_camera_info(message)


def _identity(image: CameraImage) -> CameraImage:
    return image
