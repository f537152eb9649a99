# SPDX-License-Identifier: Apache-2.0
"""Point clouds in, pseudo-images and pillars out."""

from __future__ import annotations

from typing import Any

from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.nodes import model_factory
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.cloud_subscription import CloudSubscription, LabelledCloud, pillars_of
from tiny_bev_ros.nodes.publishers import PillarPublisher


class PfnNode(BevNode):
    """`points` (PointCloud2) to `pseudo_image` and `pillars` (multi-arrays)."""

    def __init__(self, **node_options: Any) -> None:
        super().__init__('pfn_node', **node_options)

    def load(self, values: dict[str, Any]) -> LoadedModels:
        """The pillar feature net."""
        model_factory.make_cloud_options(values)  # is wrong now rather than with the first cloud
        return model_factory.load_models(values, self.get_logger(), pfn=True)

    def make_outputs(self, values: dict[str, Any], networks: Any) -> list[Any]:
        """Pseudo-images and pillars."""
        self._grid = model_factory.make_grid(values)
        self._output = PillarPublisher(self, values, self._grid)
        return [self._output]

    def make_inputs(self, values: dict[str, Any]) -> list[Any]:
        """Clouds."""
        return [CloudSubscription(self, self._grid, self.work)]

    def map_shape(self) -> tuple[int, int]:
        """That of the grid."""
        return model_factory.make_grid(self.values).shape

    def work(self, cloud: LabelledCloud) -> None:
        """Publishes the pillars of one cloud."""
        self.begin(cloud.labels.stamp or (0, 0))
        pillars = pillars_of(self, cloud, self._grid)
        with self.publishing():
            self._output.publish(pillars, cloud.labels)
