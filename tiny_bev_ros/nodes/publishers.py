# SPDX-License-Identifier: Apache-2.0
"""What the nodes publish: pillars, features, and a picture of them for rqt_image_view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.head_runner import HeadOutputs
from tiny_bev_ros.inference.pillar_runner import scatter_pillars
from tiny_bev_ros.messages.bev_image import render_bev_image
from tiny_bev_ros.messages.bev_overlay import draw_overlay
from tiny_bev_ros.messages.image import encode_image
from tiny_bev_ros.messages.pillar_tensor import check_canvas
from tiny_bev_ros.messages.tensor import TensorLabels
from tiny_bev_ros.nodes import model_factory
from tiny_bev_ros.runtime.tensor_publisher import TensorPublisher

CHANNEL = 'bev_image.channel'
ENCODING = 'output_encoding'
# What a change does when it is made.
ApplyCallback = Callable[[], None]


class Output:
    """Something that a node publishes; has `wanted`, `prepare` and `destroy` too."""

    def withdraw(self) -> None:
        """Takes back what would be shown for ever; most outputs show nothing of that kind."""


class TensorTopicPublisher(Output):
    """One topic with a labelled tensor.

    Args:
        node: which publishes.
        values: the node's parameters.
        topic: relative name.
    """

    def __init__(self, node: Node, values: dict[str, Any], topic: str) -> None:
        self._tensor = TensorPublisher(node, topic, values[ENCODING], values['output_depth'])

    @property
    def wanted(self) -> bool:
        """Whether anybody subscribes."""
        return self._tensor.wanted

    def publish(self, tensor: torch.Tensor, labels: TensorLabels) -> None:
        """Publishes (B,C,H,W), if anybody subscribes."""
        if self._tensor.wanted:
            self._tensor.publish(tensor, labels)

    def prepare(self, values: dict[str, Any], names: set[str]) -> list[ApplyCallback]:
        """What is to be done for these parameters to hold."""
        if ENCODING not in names:
            return []
        return [lambda: self._tensor.change_encoding(values[ENCODING])]

    def destroy(self) -> None:
        """Ends the publisher."""
        self._tensor.destroy()


class PillarPublisher(Output):
    """`pseudo_image` and `pillars`, the same thing dense and sparse, each for those who listen.

    There are no `pillars` where output_encoding cannot count the cells of the grid.

    Args:
        node: which publishes.
        values: the node's parameters.
        grid: of the pillars.
    """

    def __init__(self, node: Node, values: dict[str, Any], grid: BevGrid) -> None:
        self._node, self._grid = node, grid
        encoding, depth = values[ENCODING], values['output_depth']
        self._dense = TensorPublisher(node, 'pseudo_image', encoding, depth)
        self._sparse = TensorPublisher(node, 'pillars', encoding, depth)
        self._why_no_pillars = self._check(encoding)

    @property
    def wanted(self) -> bool:
        """Whether anybody subscribes to either."""
        return self._dense.wanted or (self._sparse.wanted and not self._why_no_pillars)

    def publish(self, pillars: tuple[torch.Tensor, torch.Tensor], labels: TensorLabels) -> None:
        """Publishes features (P,C) and cells (P,2)."""
        if self._sparse.wanted and not self._why_no_pillars:
            self._sparse.publish_pillars(*pillars, self._grid.shape, labels)
        if self._dense.wanted:
            self._dense.publish(scatter_pillars(pillars, self._grid.shape), labels)

    def prepare(self, values: dict[str, Any], names: set[str]) -> list[ApplyCallback]:
        """What is to be done for these parameters to hold."""
        if ENCODING not in names:
            return []
        return [lambda: self._change_encoding(values[ENCODING])]

    def destroy(self) -> None:
        """Ends the publishers."""
        self._dense.destroy()
        self._sparse.destroy()

    def _change_encoding(self, encoding: str) -> None:
        before = self._dense.encoding
        self._dense.change_encoding(encoding)
        try:
            self._sparse.change_encoding(encoding)
        except TinyBevError:
            self._dense.change_encoding(before)
            raise
        self._why_no_pillars = self._check(encoding)

    def _check(self, encoding: str) -> str:
        try:
            check_canvas(self._grid.shape, encoding)
        except TinyBevError as error:
            self._node.get_logger().warning(f'nothing is published on pillars: {error}')
            return str(error)
        return ''


class FeaturePublisher(Output):
    """`bev_features` and `bev_image`, each for those who look, of the region that they need.

    Args:
        node: which publishes.
        values: the node's parameters.
        channels: of the features.
        grid: of the features, if it is known beforehand.

    Raises:
        TinyBevError: bev_image.channel is none of them, a range of the region is inverted, or
            none of the grid is in it.
    """

    def __init__(
        self, node: Node, values: dict[str, Any], channels: int, grid: BevGrid | None = None
    ) -> None:
        self._node, self._channels, self._grid = node, channels, grid
        self._region = model_factory.make_region(values, grid)
        self._channel = self._checked_channel(values)
        self._tensor = TensorPublisher(
            node, 'bev_features', values[ENCODING], values['output_depth']
        )
        self._picture = node.create_publisher(Image, 'bev_image', QoSProfile(depth=1))

    @property
    def wanted(self) -> bool:
        """Whether anybody subscribes to either."""
        return self._tensor.wanted or self.picture_wanted

    @property
    def picture_wanted(self) -> bool:
        """Whether anybody subscribes to the picture."""
        return self._picture.get_subscription_count() > 0

    def publish(self, features: torch.Tensor, labels: TensorLabels) -> None:
        """Publishes features (B,C,H,W)."""
        if self._tensor.wanted:
            self._tensor.publish(*self._region.crop(features, labels))

    def publish_picture(
        self,
        features: torch.Tensor,
        labels: TensorLabels,
        seen: HeadOutputs | None = None,
        places: np.ndarray | None = None,
    ) -> None:
        """Publishes a picture of the first of features (B,C,H,W).

        Into it is drawn what the heads see, and (N,2) x and y of places with points.
        """
        if not self.picture_wanted:
            return
        shown, labels_shown = self._region.crop(features, labels)
        picture = render_bev_image(shown[0].cpu().numpy(), self._channel)
        y_axis, x_axis = labels_shown.y_axis, labels_shown.x_axis
        if seen is not None and y_axis and x_axis:
            drivable = None
            if seen.drivable is not None:
                area, _ = self._region.crop(seen.drivable[None, None], labels)
                drivable = area[0, 0].numpy()
            picture = draw_overlay(
                picture,
                y_axis,
                x_axis,
                points=places,
                drivable=drivable,
                detections=seen.detections,
            )
        stamp, frame_id = labels.stamp or (0, 0), labels.frame_id or ''
        self._picture.publish(encode_image(picture, stamp, frame_id))

    def prepare(self, values: dict[str, Any], names: set[str]) -> list[ApplyCallback]:
        """What is to be done for these parameters to hold.

        Raises:
            TinyBevError: as at first.
        """
        region, channel = (
            model_factory.make_region(values, self._grid),
            self._checked_channel(values),
        )

        def adopt() -> None:
            if ENCODING in names:
                self._tensor.change_encoding(values[ENCODING])
            self._region, self._channel = region, channel

        return [adopt]

    def destroy(self) -> None:
        """Ends the publishers."""
        self._tensor.destroy()
        self._node.destroy_publisher(self._picture)

    def _checked_channel(self, values: dict[str, Any]) -> int:
        channel: int = values[CHANNEL]
        if channel >= self._channels:
            raise TinyBevError(
                f'parameter {CHANNEL} is {channel}; expected -1 to {self._channels - 1}'
            )
        return channel
