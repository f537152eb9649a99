# SPDX-License-Identifier: Apache-2.0
"""What the nodes publish: pillars, features, and a picture of them for rqt_image_view."""

from __future__ import annotations

from typing import Any

import torch
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from tiny_bev_ros.engine.stages import PillarStage
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.messages.bev_image import bev_image
from tiny_bev_ros.messages.image import encode_image
from tiny_bev_ros.messages.pillars import check_canvas
from tiny_bev_ros.messages.tensor import TensorLabels
from tiny_bev_ros.nodes import build
from tiny_bev_ros.transport.tensor_publisher import TensorPublisher

CHANNEL = 'bev_image.channel'


class PillarOutput:
    """`pseudo_image` and `pillars`, the same thing dense and sparse, each for those who listen.

    There are no `pillars` where output_encoding cannot count the cells of the grid.

    Args:
        node: which publishes.
        values: the node's parameters.
        stage: which makes the pillars.
    """

    def __init__(self, node: Node, values: dict[str, Any], stage: PillarStage) -> None:
        self._stage = stage
        encoding, depth = values['output_encoding'], values['output_depth']
        self._dense = TensorPublisher(node, 'pseudo_image', encoding, depth)
        self._sparse: TensorPublisher | None = None
        try:
            check_canvas(stage.grid.shape, encoding)
            self._sparse = TensorPublisher(node, 'pillars', encoding, depth)
        except TinyBevError as error:
            node.get_logger().warning(f'there is no topic pillars: {error}')

    @property
    def wanted(self) -> bool:
        """Whether anybody subscribes to either."""
        return self._dense.wanted or (self._sparse is not None and self._sparse.wanted)

    def publish(self, pillars: tuple[torch.Tensor, torch.Tensor], labels: TensorLabels) -> None:
        """Publishes features (P,C) and cells (P,2)."""
        if self._sparse is not None and self._sparse.wanted:
            self._sparse.publish_pillars(*pillars, self._stage.grid.shape, labels)
        if self._dense.wanted:
            self._dense.publish(self._stage.lay_out(pillars), labels)


class FeatureOutput:
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
        self._node, self._channels = node, channels
        self._check_channel(values[CHANNEL])
        node.add_on_set_parameters_callback(self._check_change)
        self._region = build.make_region(values, grid)
        self._tensor = TensorPublisher(
            node, 'bev_features', values['output_encoding'], values['output_depth']
        )
        self._picture = node.create_publisher(Image, 'bev_image', QoSProfile(depth=1))

    @property
    def wanted(self) -> bool:
        """Whether anybody subscribes to either."""
        return self._tensor.wanted or self._picture.get_subscription_count() > 0

    def publish(self, features: torch.Tensor, labels: TensorLabels) -> None:
        """Publishes features (B,C,H,W), and the picture of the first of the batch."""
        features, labels = self._region.crop(features, labels)
        if self._tensor.wanted:
            self._tensor.publish(features, labels)
        if self._picture.get_subscription_count() > 0:
            channel = self._node.get_parameter(CHANNEL).value
            picture = bev_image(features[0].cpu().numpy(), channel)
            stamp, frame_id = labels.stamp or (0, 0), labels.frame_id or ''
            self._picture.publish(encode_image(picture, stamp, frame_id))

    def _check_channel(self, channel: int) -> None:
        if channel >= self._channels:
            raise TinyBevError(
                f'parameter {CHANNEL} is {channel}; expected -1 to {self._channels - 1}'
            )

    def _check_change(self, changes: list[Parameter]) -> SetParametersResult:
        try:
            for change in changes:
                if change.name == CHANNEL:
                    self._check_channel(change.value)
        except TinyBevError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)
