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
from tiny_bev_ros.messages.image import decode_image
from tiny_bev_ros.models.camera import Camera
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.transport.input import Input, NewestInput
from tiny_bev_ros.transport.tally import Tally

IMAGE_TYPES: dict[str, type] = {'sensor_msgs/msg/Image': Image}
_INFO_TYPES: dict[str, type] = {'sensor_msgs/msg/CameraInfo': CameraInfo}


@dataclass(frozen=True)
class CameraImage:
    """An image that is decoded when it is needed, and the camera that took it.

    Attributes:
        message: sensor_msgs/Image.
        camera: in its own optical frame.
        stamp: (sec, nanosec).
        frame_id: the optical frame.
    """

    message: Any
    camera: Camera
    stamp: tuple[int, int]
    frame_id: str

    def rgb(self) -> np.ndarray:
        """(H,W,3) uint8.

        Raises:
            TinyBevError: it cannot be decoded.
        """
        return decode_image(self.message)


class CameraInfoInput(Input):
    """Keeps the newest `camera_info` that is right.

    Args:
        node: which subscribes.
        topic: of the camera_info.
    """

    def __init__(self, node: BevNode, topic: str) -> None:
        self._camera: Camera | None = None
        options = node.input_options()
        super().__init__(
            node,
            topic,
            _INFO_TYPES,
            decode_camera_info,
            self._keep,
            reliability=options['reliability'],
            group=options['group'],
            depth=1,
            wanted=lambda: True,
            tally=Tally(node.get_logger(), time.monotonic_ns),
        )

    def with_image(self, message: Image, max_bytes: int) -> CameraImage:
        """An image of this camera.

        Raises:
            TinyBevError: there was no right camera_info yet, or the image is larger.
        """
        if self._camera is None:
            raise TinyBevError(f'there was no {self._topic} yet; expected one before an image')
        if len(message.data) > max_bytes:
            raise TinyBevError(f'data has {len(message.data)} bytes; expected at most {max_bytes}')
        header = message.header
        stamp = (header.stamp.sec, header.stamp.nanosec)
        return CameraImage(message, self._camera, stamp, header.frame_id)

    def _keep(self, camera: Camera) -> None:
        self._camera = camera


class ImageInput(NewestInput):
    """Reads images with the camera_info that came before them.

    Args:
        node: which subscribes.
        callback: gets each CameraImage.
    """

    def __init__(self, node: BevNode, callback: Callable[[CameraImage], None]) -> None:
        self._max_bytes = node.values['max_message_mb'] * 2**20
        self._info = CameraInfoInput(node, 'camera_info')
        super().__init__(node, 'image', IMAGE_TYPES, self._read, callback, **node.input_options())

    @property
    def sources(self) -> list[str]:
        """What it waits for: topics and types."""
        return [*super().sources, *self._info.sources]

    def destroy(self) -> None:
        """Ends both subscriptions, and the thread after what it works on."""
        self._info.destroy()
        super().destroy()

    def _read(self, message: Image) -> CameraImage:
        return self._info.with_image(message, self._max_bytes)
