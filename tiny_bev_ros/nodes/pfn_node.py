# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Node from point clouds to pseudo-images and pillars."""

from __future__ import annotations

from typing import Any

from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.model_runner import ModelRunner
from tiny_bev_ros.nodes import model_factory
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.output_publisher import OutputPublisher
from tiny_bev_ros.nodes.publishers import PillarPublisher
from tiny_bev_ros.nodes.subscriptions import CloudSubscription, LabelledCloud, run_pillars


class PfnNode(BevNode):
    """`points` (PointCloud2) to `pseudo_image` and `pillars` (multi-arrays)."""

    def __init__(self, **node_options: Any) -> None:
        super().__init__('pfn_node', **node_options)

    def load(self, values: dict[str, Any]) -> LoadedModels:
        """Loads the pillar feature net."""
        # Wrong options are refused now rather than with the first cloud.
        model_factory.make_cloud_options(values)
        model_factory.make_self_box(values)
        return model_factory.load_models(values, self.get_logger(), pfn=True)

    def make_outputs(self, values: dict[str, Any], networks: ModelRunner) -> list[OutputPublisher]:
        """Makes the publisher of pillars."""
        self._grid = model_factory.make_grid(values)
        self._output = PillarPublisher(self, values, self._grid)
        return [self._output]

    def make_inputs(self, values: dict[str, Any]) -> list[Any]:
        """Subscribes to clouds."""
        return [CloudSubscription(self, self._grid, self.process)]

    def map_shape(self) -> tuple[int, int]:
        """Returns (H,W) of the grid."""
        return model_factory.make_grid(self.values).shape

    def process(self, cloud: LabelledCloud) -> None:
        """Publishes the pillars of one cloud."""
        self.start_frame(cloud.labels.stamp)
        pillars = run_pillars(self, cloud, self._grid)
        with self.publishing():
            self._output.publish(pillars, cloud.labels, self.subscribers.topics)
