# SPDX-License-Identifier: Apache-2.0
"""Point clouds in, pseudo-images out."""

from __future__ import annotations

from typing import Any

from sensor_msgs.msg import PointCloud2

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.messages.cloud import decode_cloud
from tiny_bev_ros.messages.tensor import TensorLabels
from tiny_bev_ros.nodes import build
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.outputs import TensorOutput

CLOUD_TYPES = {'sensor_msgs/msg/PointCloud2': PointCloud2}


class PfnNode(BevNode):
    """`points` (PointCloud2) to `pseudo_image` (multi-array, (1,C,H,W))."""

    def __init__(self, **node_options: Any) -> None:
        super().__init__('pfn_node', **node_options)
        self._options = build.make_cloud_options(self.values)
        self._stage = build.make_pillar_stage(self.values, self.device, self.get_logger())
        self._output = TensorOutput(self, 'pseudo_image', self.values)
        self.listen('points', CLOUD_TYPES)

    @property
    def wanted(self) -> bool:
        """Whether anybody subscribes to `pseudo_image`."""
        return self._output.wanted

    def work(self, message: PointCloud2) -> None:
        """Publishes the pseudo-image of one cloud."""
        labels = cloud_labels(message, self._stage.grid)
        cloud = decode_cloud(message, self._options)
        self.tally.drop_points(cloud.dropped)
        pillars = self._stage.pillars(cloud.points)
        self._output.publish(self._stage.lay_out(pillars), labels)


def cloud_labels(message: PointCloud2, grid: BevGrid) -> TensorLabels:
    """Labels of a map that is made of a cloud: its stamp, its frame and the grid."""
    stamp = message.header.stamp
    return TensorLabels(
        (stamp.sec, stamp.nanosec), message.header.frame_id, grid.y_axis, grid.x_axis
    )
