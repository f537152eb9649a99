# SPDX-License-Identifier: Apache-2.0
"""What the nodes publish: tensors, and a picture of them for rqt_image_view."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.bev_image import bev_image
from tiny_bev_ros.messages.image import encode_image
from tiny_bev_ros.messages.tensor import MESSAGE_TYPES, TensorLabels, encode_tensor

CHANNEL = 'bev_image.channel'


class TensorOutput:
    """A reliable publisher of labelled tensors that refills one kept message.

    Args:
        node: which publishes.
        topic: relative name.
        values: the node's parameters; output_encoding and output_depth are used.
    """

    def __init__(self, node: Node, topic: str, values: dict[str, Any]) -> None:
        self._encoding = values['output_encoding']
        self._message: Any = None
        self._publisher = node.create_publisher(
            MESSAGE_TYPES[self._encoding], topic, QoSProfile(depth=values['output_depth'])
        )

    @property
    def wanted(self) -> bool:
        """Whether anybody subscribes."""
        return self._publisher.get_subscription_count() > 0

    def publish(self, tensor: torch.Tensor, labels: TensorLabels) -> None:
        """Publishes (B,C,H,W), of any device."""
        if self._encoding == 'float16':
            tensor = tensor.half()  # NumPy rounds ten times slower
        array = tensor.cpu().numpy()
        try:
            self._message = encode_tensor(array, labels, self._encoding, self._message)
        except TinyBevError as error:
            # Finite input, so it is the network that went too far.
            raise TinyBevError(f'{self._publisher.topic_name} cannot be sent: {error}') from None
        self._publisher.publish(self._message)


class FeatureOutput:
    """`bev_features` and, for those who look, `bev_image`.

    Args:
        node: which publishes.
        values: the node's parameters.
        channels: of the features.

    Raises:
        TinyBevError: bev_image.channel is none of them.
    """

    def __init__(self, node: Node, values: dict[str, Any], channels: int) -> None:
        self._node, self._channels = node, channels
        self._check_channel(values[CHANNEL])
        node.add_on_set_parameters_callback(self._check_change)
        self._tensor = TensorOutput(node, 'bev_features', values)
        self._picture = node.create_publisher(Image, 'bev_image', QoSProfile(depth=1))

    @property
    def wanted(self) -> bool:
        """Whether anybody subscribes to either."""
        return self._tensor.wanted or self._picture.get_subscription_count() > 0

    def publish(self, features: torch.Tensor, labels: TensorLabels) -> None:
        """Publishes features (B,C,H,W), and the picture of the first of the batch."""
        if self._tensor.wanted:
            self._tensor.publish(features, labels)
        if self._picture.get_subscription_count() > 0:
            self._publish_picture(features[0].cpu().numpy(), labels)

    def _publish_picture(self, features: np.ndarray, labels: TensorLabels) -> None:
        picture = bev_image(features, self._node.get_parameter(CHANNEL).value)
        self._picture.publish(encode_image(picture, labels.stamp or (0, 0), labels.frame_id or ''))

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
