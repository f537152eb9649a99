# SPDX-License-Identifier: Apache-2.0
"""The subscriptions to `image` and `camera_info`."""

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
# Infos that the thread of the callbacks has not taken yet.
_DEPTH = 5


@dataclass(frozen=True)
class CameraImage:
    """An image that is decoded when it is needed, and the camera that took it.

    Attributes:
        message: sensor_msgs/Image.
        camera: in its own optical frame.
        stamp: (sec, nanosec).
        frame_id: the optical frame.
        received_ns: when it came, by time.monotonic_ns.
    """

    message: Any
    camera: Camera
    stamp: tuple[int, int]
    frame_id: str
    received_ns: int

    def rgb(self) -> np.ndarray:
        """(H,W,3) uint8.

        Raises:
            TinyBevError: it cannot be decoded.
        """
        return decode_image(self.message)


class CameraInfoSubscription(SafeSubscription):
    """Finds for each image of a camera the `camera_info` of its time.

    Args:
        node: which subscribes.
        topics: of the camera_info and of the image.
        stats: of the images.
        paired: gets each image with its camera.
    """

    subscription = LatchedSubscription

    def __init__(
        self,
        node: BevNode,
        topics: tuple[str, str],
        stats: InputStats,
        paired: Callable[[CameraImage], None],
    ) -> None:
        info_topic, self._image_topic = topics
        self._images, self._paired = stats, paired
        self._sync: CameraInfoSync[tuple[Image, int], Camera]
        self._sync = CameraInfoSync(self._pair, lambda arrived, reason: self._refuse(reason))
        self._max_bytes = node.values['max_message_mb'] * 2**20
        self._logger = node.get_logger()
        self._told: set[str] = set()
        options = node.input_options()
        super().__init__(
            node,
            info_topic,
            _INFO_TYPES,
            _stamped_camera,
            self._keep,
            reliability=options['reliability'],
            group=options['group'],
            depth=_DEPTH,
            wanted=lambda: True,
            stats=InputStats(node.get_logger(), time.monotonic_ns),
        )

    def put(self, message: Image) -> None:
        """Hands on an image as soon as its camera_info is there; counts one that is refused."""
        size = len(message.data)
        if size > self._max_bytes:
            self._refuse(f'data has {size} bytes; expected at most {self._max_bytes}')
            return
        arrived = message, time.monotonic_ns()
        stamp_ns = to_nanoseconds(_stamp(message))
        self._sync.add_image(stamp_ns, (message.width, message.height), arrived)

    def destroy(self) -> None:
        """Ends the subscription, and the wait of an image."""
        super().destroy()
        for _ in range(self._sync.stop()):
            self._images.count_dropped('stopped')

    def _keep(self, found: tuple[int, Camera]) -> None:
        stamp_ns, camera = found
        self._sync.add_camera_info(stamp_ns, camera.size, camera)

    def _pair(self, arrived: tuple[Image, int], camera: Camera) -> None:
        message, received_ns = arrived
        encoding = message.encoding
        if encoding in COLOURLESS and encoding not in self._told:
            self._told.add(encoding)
            self._logger.warning(
                f'{self._image_topic} has encoding {encoding}, which names no colours: '
                f'read as {COLOURLESS[encoding]}'
            )
        frame_id = message.header.frame_id
        self._paired(CameraImage(message, camera, _stamp(message), frame_id, received_ns))

    def _refuse(self, reason: str) -> None:
        self._images.count_rejected(self._image_topic, TinyBevError(reason))


class _WithCameraInfo(SafeSubscription):
    """Images that are worth something with the camera_info of their time alone."""

    _info: CameraInfoSubscription

    @property
    def sources(self) -> list[str]:
        """Topics and types that it waits for."""
        return [*super().sources, *self._info.sources]

    def destroy(self) -> None:
        """Ends both subscriptions."""
        self._info.destroy()
        super().destroy()

    def _handle(self, message: Image) -> None:
        self._info.put(message)


class ImageSubscription(_WithCameraInfo, LatestInput):
    """Reads images with the camera_info of their time.

    Args:
        node: which subscribes.
        callback: gets each CameraImage.
    """

    def __init__(self, node: BevNode, callback: Callable[[CameraImage], None]) -> None:
        options = node.input_options()
        topics = ('camera_info', 'image')
        self._info = CameraInfoSubscription(node, topics, options['stats'], self._put)
        super().__init__(node, 'image', IMAGE_TYPES, _as_it_is, callback, **options)

    def _put(self, image: CameraImage) -> None:
        self._worker.put((image, image.received_ns))


class PairedCameraSubscription(_WithCameraInfo, CameraInput):
    """Lets images with the camera_info of their time wait for maps.

    Args:
        node: which subscribes.
        name: of the camera.
        stats: of the camera.
        keep: gets each CameraImage.
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
        super().__init__(node, topics[1], IMAGE_TYPES, _as_it_is, keep, stats)


def _stamp(message: Any) -> tuple[int, int]:
    return message.header.stamp.sec, message.header.stamp.nanosec


def _stamped_camera(message: CameraInfo) -> tuple[int, Camera]:
    return to_nanoseconds(_stamp(message)), decode_camera_info(message)


def _as_it_is(image: CameraImage) -> CameraImage:
    return image
