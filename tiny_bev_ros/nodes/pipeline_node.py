# SPDX-License-Identifier: Apache-2.0
"""Point clouds in, bird's-eye-view features out, in one process."""

from __future__ import annotations

from typing import Any

from tiny_bev_ros.nodes import build
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.cloud_input import CloudInput, LabelledCloud
from tiny_bev_ros.nodes.outputs import FeatureOutput, PillarOutput


class PipelineNode(BevNode):
    """`points` (PointCloud2) to `bev_features`; `pseudo_image` and `pillars` for who asks.

    The pillars go from one network to the other as they are: a pseudo-image is laid out only
    for those who subscribe to it.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__('pipeline_node', **node_options)
        build.check_channels(self.values)
        self._stage = build.make_pillar_stage(self.values, self.device, self.get_logger())
        self._engine = build.make_backbone_engine(self.values, self.device, self.get_logger())
        self._pillar_output = PillarOutput(self, self.values, self._stage)
        grid = self._stage.grid.strided(self._engine.stride)
        self._output = FeatureOutput(self, self.values, self._engine.channels, grid)
        self._engine.warm_up(self._stage.grid.shape)
        self._input = CloudInput(self, self._stage.grid, self.work)

    @property
    def wanted(self) -> bool:
        """Whether anybody subscribes to features, picture or pillars."""
        return self._output.wanted or self._pillar_output.wanted

    def work(self, cloud: LabelledCloud) -> None:
        """Publishes what is wanted of one cloud."""
        pillars = self._stage.pillars(cloud.points)
        self._pillar_output.publish(pillars, cloud.labels)
        if self._output.wanted:
            features = self._engine.from_pillars(*pillars, self._stage.grid.shape)
            self._output.publish(features, cloud.labels.strided(self._engine.stride))
            self.tally.computed(self._engine.statistics.path)
