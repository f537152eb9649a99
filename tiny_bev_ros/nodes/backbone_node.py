# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Node from pseudo-images or pillars to BEV features."""

from __future__ import annotations

from typing import Any

import torch

from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.model_runner import ModelRunner
from tiny_bev_ros.messages.pillar_tensor import PillarTensor
from tiny_bev_ros.messages.tensor import BevTensor
from tiny_bev_ros.nodes import model_factory
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.output_publisher import OutputPublisher
from tiny_bev_ros.nodes.publishers import FeaturePublisher
from tiny_bev_ros.nodes.subscriptions import TensorSubscription


class BackboneNode(BevNode):
    """`pseudo_image` or `pillars` (multi-arrays) to `bev_features` and `bev_image`."""

    def __init__(self, **node_options: Any) -> None:
        self._shape: tuple[int, int] | None = None
        super().__init__('backbone_node', **node_options)

    def load(self, values: dict[str, Any]) -> LoadedModels:
        """Loads the backbone."""
        return model_factory.load_models(values, self.get_logger(), backbone=True)

    def make_outputs(self, values: dict[str, Any], networks: ModelRunner) -> list[OutputPublisher]:
        """Makes the publisher of features."""
        backbone = networks.backbone
        assert backbone is not None
        self._in_channels, self._stride = backbone.in_channels, backbone.stride
        self._output = FeaturePublisher(self, values, backbone.channels)
        return [self._output]

    def make_inputs(self, values: dict[str, Any]) -> list[Any]:
        """Subscribes to pseudo-images or pillars."""
        topic = 'pillars' if self.values['input_format'] == 'pillars' else 'pseudo_image'
        return [TensorSubscription(self, topic, self._in_channels, self.process)]

    def map_shape(self) -> tuple[int, int] | None:
        """Returns (H,W) of the last pseudo-image; None before the first."""
        return self._shape

    def process(self, tensor: BevTensor | PillarTensor) -> None:
        """Publishes the features of one pseudo-image or of its pillars."""
        self.start_frame(tensor.labels.stamp)
        labels = tensor.labels.strided(self._stride)
        if isinstance(tensor, PillarTensor):
            values, cells = torch.from_numpy(tensor.features), torch.from_numpy(tensor.cells)
            shape = tensor.canvas
            features = self.run_backbone(ModelRunner.extract_features, values, cells, shape)
        else:
            image = tensor.tensor
            shape = (image.shape[2], image.shape[3])
            features = self.run_backbone(ModelRunner.extract_features_dense, image)
        self._shape = shape
        topics = self.subscribers.topics
        with self.publishing():
            self._output.publish(features, labels, topics)
            self._output.publish_image(features, labels, topics)
