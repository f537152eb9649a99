# SPDX-License-Identifier: Apache-2.0
"""Point clouds in, bird's-eye-view features out, in one process."""

from __future__ import annotations

from typing import Any

from sensor_msgs.msg import PointCloud2

from tiny_bev_ros.messages.cloud import decode_cloud
from tiny_bev_ros.nodes import build
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.outputs import FeatureOutput, TensorOutput
from tiny_bev_ros.nodes.pfn_node import CLOUD_TYPES, cloud_labels


class PipelineNode(BevNode):
    """`points` (PointCloud2) to `bev_features`, with `pseudo_image` for those who ask.

    The pillars go from one network to the other as they are: a pseudo-image is laid out only
    for those who subscribe to it.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__('pipeline_node', **node_options)
        build.check_channels(self.values)
        self._options = build.make_cloud_options(self.values)
        self._stage = build.make_pillar_stage(self.values, self.device, self.get_logger())
        self._engine = build.make_backbone_engine(self.values, self.device, self.get_logger())
        self._pseudo_output = TensorOutput(self, 'pseudo_image', self.values)
        self._output = FeatureOutput(self, self.values, self._engine.channels)
        self._engine.warm_up(self._stage.grid.shape)
        self.listen('points', CLOUD_TYPES)

    @property
    def wanted(self) -> bool:
        """Whether anybody subscribes to features, picture or pseudo-image."""
        return self._output.wanted or self._pseudo_output.wanted

    def work(self, message: PointCloud2) -> None:
        """Publishes what is wanted of one cloud."""
        grid = self._stage.grid
        labels = cloud_labels(message, grid)
        cloud = decode_cloud(message, self._options)
        self.tally.drop_points(cloud.dropped)
        pillars = self._stage.pillars(cloud.points)
        if self._pseudo_output.wanted:
            self._pseudo_output.publish(self._stage.lay_out(pillars), labels)
        if self._output.wanted:
            features = self._engine.from_pillars(*pillars, grid.shape)
            labels = cloud_labels(message, grid.strided(self._engine.stride))
            self._output.publish(features, labels)
            self.tally.computed(self._engine.statistics.path)
