# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Node from BEV features to detections and drivable area."""

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
from tiny_bev_ros.nodes.head_publishers import HeadPublishers
from tiny_bev_ros.nodes.output_publisher import OutputPublisher
from tiny_bev_ros.nodes.subscriptions import TensorSubscription


class HeadsNode(BevNode):
    """`bev_features` (multi-array) to `detections`, `drivable_area` and their other forms."""

    def __init__(self, **node_options: Any) -> None:
        super().__init__('heads_node', **node_options)

    def load(self, values: dict[str, Any]) -> LoadedModels:
        """Loads the heads."""
        if not values['heads.names']:
            raise TinyBevError('parameter heads.names is []; expected one at least')
        return model_factory.load_models(values, self.get_logger(), heads=True)

    def make_outputs(self, values: dict[str, Any], networks: ModelRunner) -> list[OutputPublisher]:
        """Makes the publishers of the heads."""
        assert networks.heads is not None
        self._channels = networks.heads.channels
        self._output = HeadPublishers(self, values)
        return [self._output]

    def make_inputs(self, values: dict[str, Any]) -> list[Any]:
        """Subscribes to features."""
        return [TensorSubscription(self, 'bev_features', self._channels, self.process)]

    def map_shape(self) -> None:
        """Returns None: the heads take maps of any size."""
        return

    def process(self, features: BevTensor) -> None:
        """Publishes the outputs of the heads for one map of features."""
        self.start_frame(features.labels.stamp)
        tensor = features.tensor
        grid = grid_from_labels(features.labels, (tensor.shape[2], tensor.shape[3]))
        scores = self._output.min_scores
        outputs = self.run('heads', ModelRunner.detect, tensor, grid, scores)
        found = outputs.detections
        height = None if found is None else box_bottom_height(found.boxes)
        with self.publishing():
            topics = self.subscribers.topics
            self._output.publish(outputs, features.labels, topics, lambda: (None, height))
