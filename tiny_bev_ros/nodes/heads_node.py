# SPDX-License-Identifier: Apache-2.0
"""Bird's-eye-view features in, objects and drivable area out."""

from __future__ import annotations

from typing import Any

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.model_runner import ModelRunner
from tiny_bev_ros.messages.tensor import BevTensor
from tiny_bev_ros.messages.tensor_labels import grid_from_labels
from tiny_bev_ros.models.observed_ground import box_bottom_height
from tiny_bev_ros.nodes import model_factory
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.head_publishers import HeadPublisher
from tiny_bev_ros.nodes.tensor_subscription import TensorSubscription


class HeadsNode(BevNode):
    """`bev_features` (multi-array) to `detections`, `drivable_area` and their like."""

    def __init__(self, **node_options: Any) -> None:
        super().__init__('heads_node', **node_options)

    def load(self, values: dict[str, Any]) -> LoadedModels:
        """The heads."""
        if not values['heads.names']:
            raise TinyBevError('parameter heads.names is []; expected one at least')
        return model_factory.load_models(values, self.get_logger(), heads=True)

    def make_outputs(self, values: dict[str, Any], networks: Any) -> list[Any]:
        """Objects and drivable area."""
        self._channels = networks.heads.channels
        self._output = HeadPublisher(self, values)
        return [self._output]

    def make_inputs(self, values: dict[str, Any]) -> list[Any]:
        """Features."""
        return [TensorSubscription(self, 'bev_features', self._channels, self.work)]

    def map_shape(self) -> None:
        """Of no concern to heads."""
        return

    def work(self, features: BevTensor) -> None:
        """Publishes what is in one map of features."""
        self.begin(features.labels.stamp or (0, 0))
        tensor = features.tensor
        grid = grid_from_labels(features.labels, (tensor.shape[2], tensor.shape[3]))
        scores = self._output.min_scores
        seen = self.run('heads', ModelRunner.detect, tensor, grid, scores)
        height = None if seen.detections is None else box_bottom_height(seen.detections.boxes)
        with self.publishing():
            self._output.publish(seen, features.labels, height=height)
