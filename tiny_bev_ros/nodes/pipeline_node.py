# SPDX-License-Identifier: Apache-2.0
"""Point clouds in, bird's-eye-view features out, in one process."""

from __future__ import annotations

import time
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import PointCloud2

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.cloud import decode_cloud
from tiny_bev_ros.nodes import build, parameters
from tiny_bev_ros.nodes.adaptive_subscription import AdaptiveSubscription
from tiny_bev_ros.nodes.outputs import FeatureOutput, TensorOutput
from tiny_bev_ros.nodes.pfn_node import CLOUD_TYPES, cloud_labels
from tiny_bev_ros.nodes.tally import Tally


class PipelineNode(Node):
    """`points` (PointCloud2) to `bev_features`, with `pseudo_image` for those who ask.

    The pseudo-image goes from one network to the other as it is, without a message.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__('pipeline_node', **node_options)
        values = parameters.declare(self, parameters.NODES['pipeline_node'])
        build.check_channels(values)
        device = build.make_device(values, self.get_logger())
        self._options = build.make_cloud_options(values)
        self._to_pseudo_image = build.make_pillar_stage(values, device, self.get_logger())
        self._to_features = build.make_backbone_stage(values, device, self.get_logger())
        self._pseudo_output = TensorOutput(self, 'pseudo_image', values)
        self._output = FeatureOutput(self, values)
        self.tally = Tally(self.get_logger(), time.monotonic_ns)
        self._input = AdaptiveSubscription(
            self,
            'points',
            CLOUD_TYPES,
            self._on_cloud,
            values['input_reliability'],
            values['input_depth'],
        )

    def _on_cloud(self, message: PointCloud2) -> None:
        self.tally.received += 1
        if not (self._output.wanted or self._pseudo_output.wanted):
            self.tally.skipped += 1
            return
        try:
            cloud = decode_cloud(message, self._options)
            pseudo_image = self._to_pseudo_image(cloud.points)
            grid = self._to_pseudo_image.grid
            if self._pseudo_output.wanted:
                self._pseudo_output.publish(
                    pseudo_image.cpu().numpy(), cloud_labels(message, grid)
                )
            if self._output.wanted:
                features = self._to_features(pseudo_image)
                labels = cloud_labels(message, grid.strided(self._to_features.stride))
                self._output.publish(features, labels)
        except TinyBevError as error:
            self.tally.reject('points', error)
            return
        self.tally.published += 1
        self.tally.drop_points(cloud.dropped)

    def destroy_node(self) -> None:
        """Says what became of the input, and ends."""
        self.get_logger().info(str(self.tally))
        super().destroy_node()
