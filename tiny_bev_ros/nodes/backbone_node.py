# SPDX-License-Identifier: Apache-2.0
"""Pseudo-images in, bird's-eye-view features out."""

from __future__ import annotations

from typing import Any

import torch
from std_msgs.msg import Float32MultiArray, UInt8MultiArray

from tiny_bev_ros.messages.tensor import TensorLabels, decode_tensor
from tiny_bev_ros.nodes import build
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.outputs import FeatureOutput

TENSOR_TYPES = {
    'std_msgs/msg/Float32MultiArray': Float32MultiArray,
    'std_msgs/msg/UInt8MultiArray': UInt8MultiArray,
}


class BackboneNode(BevNode):
    """`pseudo_image` (multi-array) to `bev_features` (multi-array) and `bev_image`."""

    def __init__(self, **node_options: Any) -> None:
        super().__init__('backbone_node', **node_options)
        self._engine = build.make_backbone_engine(self.values, self.device, self.get_logger())
        self._output = FeatureOutput(self, self.values, self._engine.channels)
        self.listen('pseudo_image', TENSOR_TYPES)

    @property
    def wanted(self) -> bool:
        """Whether anybody subscribes to features or picture."""
        return self._output.wanted

    def work(self, message: Float32MultiArray | UInt8MultiArray) -> None:
        """Publishes the features of one pseudo-image."""
        received = self.get_clock().now().seconds_nanoseconds()
        pseudo_image = decode_tensor(
            message,
            channels=self._engine.in_channels,
            max_bytes=self.values['max_message_mb'] * 2**20,
        )
        features = self._engine(torch.from_numpy(pseudo_image.array))
        labels = feature_labels(
            pseudo_image.labels, self._engine.stride, received, self.values['frame_id']
        )
        self._output.publish(features, labels)
        self.tally.computed(self._engine.statistics.path)


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
        received if labels.stamp is None else labels.stamp,
        frame_id if labels.frame_id is None else labels.frame_id,
        labels.y_axis and labels.y_axis.strided(stride),
        labels.x_axis and labels.x_axis.strided(stride),
    )
