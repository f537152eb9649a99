# SPDX-License-Identifier: Apache-2.0
"""Point clouds in, pseudo-images out."""

from __future__ import annotations

import time
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import PointCloud2

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.messages.cloud import decode_cloud
from tiny_bev_ros.messages.tensor import TensorLabels
from tiny_bev_ros.nodes import build, parameters
from tiny_bev_ros.nodes.adaptive_subscription import AdaptiveSubscription
from tiny_bev_ros.nodes.outputs import TensorOutput
from tiny_bev_ros.nodes.tally import Tally

CLOUD_TYPES = {'sensor_msgs/msg/PointCloud2': PointCloud2}


def cloud_labels(message: PointCloud2, grid: BevGrid) -> TensorLabels:
    """Labels of the map that is made of a cloud: its stamp, its frame and the grid."""
    stamp = message.header.stamp
    return TensorLabels(
        (stamp.sec, stamp.nanosec), message.header.frame_id, grid.y_axis, grid.x_axis
    )


class PfnNode(Node):
    """`points` (PointCloud2) to `pseudo_image` (multi-array, (1,64,H,W))."""

    def __init__(self, **node_options: Any) -> None:
        super().__init__('pfn_node', **node_options)
        values = parameters.declare(self, parameters.NODES['pfn_node'])
        device = build.make_device(values, self.get_logger())
        self._options = build.make_cloud_options(values)
        self._to_pseudo_image = build.make_pillar_stage(values, device, self.get_logger())
        self._output = TensorOutput(self, 'pseudo_image', values)
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
        if not self._output.wanted:
            self.tally.skipped += 1
            return
        try:
            cloud = decode_cloud(message, self._options)
            pseudo_image = self._to_pseudo_image(cloud.points)
            labels = cloud_labels(message, self._to_pseudo_image.grid)
            self._output.publish(pseudo_image.cpu().numpy(), labels)
        except TinyBevError as error:
            self.tally.reject('points', error)
            return
        self.tally.published += 1
        self.tally.drop_points(cloud.dropped)

    def destroy_node(self) -> None:
        """Says what became of the input, and ends."""
        self.get_logger().info(str(self.tally))
        super().destroy_node()
