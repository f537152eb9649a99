# SPDX-License-Identifier: Apache-2.0
"""Pseudo-images in, bird's-eye-view features out."""

from __future__ import annotations

import time
from typing import Any

import torch
from rclpy.node import Node
from std_msgs.msg import Float32MultiArray, UInt8MultiArray

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.tensor import TensorLabels, decode_tensor
from tiny_bev_ros.nodes import build, parameters
from tiny_bev_ros.nodes.adaptive_subscription import AdaptiveSubscription
from tiny_bev_ros.nodes.outputs import FeatureOutput
from tiny_bev_ros.nodes.tally import Tally

TENSOR_TYPES = {
    'std_msgs/msg/Float32MultiArray': Float32MultiArray,
    'std_msgs/msg/UInt8MultiArray': UInt8MultiArray,
}


class BackboneNode(Node):
    """`pseudo_image` (multi-array) to `bev_features` (multi-array) and `bev_image`."""

    def __init__(self, **node_options: Any) -> None:
        super().__init__('backbone_node', **node_options)
        values = parameters.declare(self, parameters.NODES['backbone_node'])
        device = build.make_device(values, self.get_logger())
        self._to_features = build.make_backbone_stage(values, device, self.get_logger())
        self._frame_id = values['frame_id']
        self._max_bytes = values['max_message_mb'] * 2**20
        self._output = FeatureOutput(self, values)
        self.tally = Tally(self.get_logger(), time.monotonic_ns)
        self._input = AdaptiveSubscription(
            self,
            'pseudo_image',
            TENSOR_TYPES,
            self._on_pseudo_image,
            values['input_reliability'],
            values['input_depth'],
        )

    def _on_pseudo_image(self, message: Float32MultiArray | UInt8MultiArray) -> None:
        self.tally.received += 1
        if not self._output.wanted:
            self.tally.skipped += 1
            return
        received = self.get_clock().now()
        try:
            pseudo_image = decode_tensor(
                message, channels=self._to_features.in_channels, max_bytes=self._max_bytes
            )
            features = self._to_features(torch.from_numpy(pseudo_image.array))
            labels = feature_labels(
                pseudo_image.labels,
                self._to_features.stride,
                received.seconds_nanoseconds(),
                self._frame_id,
            )
            self._output.publish(features, labels)
        except TinyBevError as error:
            self.tally.reject('pseudo_image', error)
            return
        self.tally.published += 1

    def destroy_node(self) -> None:
        """Says what became of the input, and ends."""
        self.get_logger().info(str(self.tally))
        super().destroy_node()


def feature_labels(
    labels: TensorLabels, stride: int, received: tuple[int, int], frame_id: str
) -> TensorLabels:
    """Labels of a map that a network has made ``stride`` times coarser.

    Args:
        labels: of the network's input.
        stride: of its output.
        received: stamp (s, ns) for input that carries none.
        frame_id: for input that names none.
    """
    return TensorLabels(
        labels.stamp or received,
        labels.frame_id or frame_id,
        labels.y_axis and labels.y_axis.strided(stride),
        labels.x_axis and labels.x_axis.strided(stride),
    )
