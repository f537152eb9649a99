# SPDX-License-Identifier: Apache-2.0
"""Point clouds in, pseudo-images and pillars out."""

from __future__ import annotations

from typing import Any

from tiny_bev_ros.nodes import build
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.cloud_input import CloudInput, LabelledCloud
from tiny_bev_ros.nodes.outputs import PillarOutput


class PfnNode(BevNode):
    """`points` (PointCloud2) to `pseudo_image` and `pillars` (multi-arrays)."""

    def __init__(self, **node_options: Any) -> None:
        super().__init__('pfn_node', **node_options)
        self._stage = build.make_pillar_stage(self.values, self.device, self.get_logger())
        self._output = PillarOutput(self, self.values, self._stage)
        self._input = CloudInput(self, self._stage.grid, self.work)

    @property
    def wanted(self) -> bool:
        """Whether anybody subscribes to either."""
        return self._output.wanted

    def work(self, cloud: LabelledCloud) -> None:
        """Publishes the pillars of one cloud."""
        self._output.publish(self._stage.pillars(cloud.points), cloud.labels)
