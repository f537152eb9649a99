# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Publishers of pillars, features, and an image of features for rqt_image_view."""

from __future__ import annotations

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
from tiny_bev_ros.models.device import copy_to_host
from tiny_bev_ros.nodes import model_factory
from tiny_bev_ros.nodes.output_publisher import ENCODING, ApplyCallback, OutputPublisher

CHANNEL = 'bev_image.channel'


class TensorTopicPublisher(OutputPublisher):
    """One topic with a labelled tensor.

    Args:
        node: node that publishes.
        values: parameters of the node.
        topic: relative name.
    """

    def __init__(self, node: Node, values: dict[str, Any], topic: str) -> None:
        super().__init__(node)
        self._topic = topic
        self._tensor = self._add_tensor(topic, values)

    def publish(self, tensor: torch.Tensor, labels: TensorLabels, topics: frozenset[str]) -> None:
        """Publishes a tensor (B,C,H,W) if ``topics``, those with subscribers, name the topic."""
        if self._topic in topics:
            self._tensor.publish(tensor, labels)

    def prepare(self, values: dict[str, Any], names: set[str]) -> list[ApplyCallback]:
        """Returns the callback that changes the encoding, if that is set."""
        if ENCODING not in names:
            return []
        return [lambda: self._tensor.change_encoding(values[ENCODING])]


class PillarPublisher(OutputPublisher):
    """`pseudo_image` and `pillars`: the same pillars in a dense and in a sparse message.

    Nothing is published on `pillars` where output_encoding cannot count the cells of the grid.

    Args:
        node: node that publishes.
        values: parameters of the node.
        grid: grid of the pillars.
    """

    def __init__(self, node: Node, values: dict[str, Any], grid: BevGrid) -> None:
        super().__init__(node)
        self._shape = grid.shape
        self._dense = self._add_tensor('pseudo_image', values)
        self._sparse = self._add_tensor('pillars', values)
        self._check_pillars(values[ENCODING])

    def publish(
        self,
        pillars: tuple[torch.Tensor, torch.Tensor],
        labels: TensorLabels,
        topics: frozenset[str],
    ) -> None:
        """Publishes features (P,C) and cells (P,2) on ``topics``, those with subscribers."""
        if 'pillars' in topics:
            self._sparse.publish_pillars(*pillars, self._shape, labels)
        if 'pseudo_image' in topics:
            self._dense.publish(scatter_pillars(pillars, self._shape), labels)

    def prepare(self, values: dict[str, Any], names: set[str]) -> list[ApplyCallback]:
        """Returns the callback that changes the encoding, if that is set."""
        if ENCODING not in names:
            return []
        return [lambda: self._change_encoding(values[ENCODING])]

    def _change_encoding(self, encoding: str) -> None:
        before = self._dense.encoding
        self._dense.change_encoding(encoding)
        try:
            self._sparse.change_encoding(encoding)
        except TinyBevError:
            self._dense.change_encoding(before)
            raise
        self._check_pillars(encoding)

    def _check_pillars(self, encoding: str) -> None:
        self._unavailable.clear()
        try:
            check_canvas(self._shape, encoding)
        except TinyBevError as error:
            self._node.get_logger().warning(f'pillars: nothing is published, as {error}')
            self._unavailable.add('pillars')


class FeaturePublisher(OutputPublisher):
    """`bev_features` and `bev_image`, both cropped to `output_roi`.

    Args:
        node: node that publishes.
        values: parameters of the node.
        channels: number of feature channels.
        grid: grid of the features; None if it is unknown in advance.

    Raises:
        TinyBevError: bev_image.channel is no channel of the features, a range of output_roi is
            inverted, or no cell of the grid lies in it.
    """

    def __init__(
        self, node: Node, values: dict[str, Any], channels: int, grid: BevGrid | None = None
    ) -> None:
        super().__init__(node)
        self._channels, self._grid = channels, grid
        self._roi = model_factory.make_output_roi(values, grid)
        self._channel = self._checked_channel(values)
        self._tensor = self._add_tensor('bev_features', values)
        self._add('bev_image', node.create_publisher(Image, 'bev_image', QoSProfile(depth=1)))

    def withhold(self, reason: str) -> None:
        """Publishes nothing from now on, as there are no features; logs the reason."""
        self._node.get_logger().warning(
            f'bev_features, bev_image: nothing is published, as {reason}'
        )
        self._unavailable |= self.topics

    def publish(
        self, features: torch.Tensor, labels: TensorLabels, topics: frozenset[str]
    ) -> None:
        """Publishes features (B,C,H,W) of any float dtype.

        Args:
            features: BEV features, on any device.
            labels: labels of the features.
            topics: topics that have subscribers; nothing is published on others.
        """
        if 'bev_features' in topics:
            self._tensor.publish(*self._roi.crop(features, labels))

    def publish_image(
        self,
        features: torch.Tensor,
        labels: TensorLabels,
        topics: frozenset[str],
        outputs: HeadOutputs | None = None,
        positions: np.ndarray | None = None,
    ) -> None:
        """Publishes an image of the features if ``topics``, those with subscribers, name it.

        Args:
            features: BEV features (B,C,H,W), of which the first frame is shown.
            labels: labels of the features.
            topics: topics that have subscribers.
            outputs: outputs of the heads to draw; None to draw none.
            positions: (N,2) x and y of cells with points, m; None to draw none.
        """
        if 'bev_image' not in topics:
            return
        cropped, cropped_labels = self._roi.crop(features, labels)
        (shown,) = copy_to_host(cropped[0].float())
        image = render_bev_image(shown.numpy(), self._channel)
        y_axis, x_axis = cropped_labels.y_axis, cropped_labels.x_axis
        if outputs is not None and y_axis and x_axis:
            drivable = None
            if outputs.drivable is not None:
                area, _ = self._roi.crop(outputs.drivable[None, None], labels)
                drivable = area[0, 0].numpy()
            image = draw_overlay(
                image, y_axis, x_axis, points=positions, drivable=drivable,
                detections=outputs.detections,
            )  # fmt: skip
        stamp, frame_id = labels.stamp or (0, 0), labels.frame_id or ''
        self.publishers['bev_image'].publish(encode_image(image, stamp, frame_id))

    def prepare(self, values: dict[str, Any], names: set[str]) -> list[ApplyCallback]:
        """Returns the callback that changes encoding, output_roi and channel of the image.

        Raises:
            TinyBevError: the conditions of the class.
        """
        roi = model_factory.make_output_roi(values, self._grid)
        channel = self._checked_channel(values)

        def apply() -> None:
            if ENCODING in names:
                self._tensor.change_encoding(values[ENCODING])
            self._roi, self._channel = roi, channel

        return [apply]

    def _checked_channel(self, values: dict[str, Any]) -> int:
        channel: int = values[CHANNEL]
        if channel >= self._channels:
            raise TinyBevError(
                f'parameter {CHANNEL} is {channel}; expected -1 to {self._channels - 1}'
            )
        return channel
