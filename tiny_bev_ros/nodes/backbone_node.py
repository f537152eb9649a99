# SPDX-License-Identifier: Apache-2.0
"""Pseudo-images, dense or as pillars, in, bird's-eye-view features out."""

from __future__ import annotations

from typing import Any

import torch

from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.model_runner import ModelRunner
from tiny_bev_ros.messages.pillar_tensor import PillarTensor
from tiny_bev_ros.messages.tensor import BevTensor
from tiny_bev_ros.nodes import model_factory
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.publishers import FeaturePublisher
from tiny_bev_ros.nodes.tensor_subscription import TensorSubscription


class BackboneNode(BevNode):
    """`pseudo_image` or `pillars` (multi-arrays) to `bev_features` and `bev_image`."""

    def __init__(self, **node_options: Any) -> None:
        self._shape: tuple[int, int] | None = None
        super().__init__('backbone_node', **node_options)

    def load(self, values: dict[str, Any]) -> LoadedModels:
        """The backbone."""
        return model_factory.load_models(values, self.get_logger(), backbone=True)

    def make_outputs(self, values: dict[str, Any], networks: Any) -> list[Any]:
        """Features and picture."""
        self._in_channels, self._stride = networks.backbone.in_channels, networks.backbone.stride
        self._output = FeaturePublisher(self, values, networks.backbone.channels)
        return [self._output]

    def make_inputs(self, values: dict[str, Any]) -> list[Any]:
        """Pseudo-images or pillars."""
        topic = 'pillars' if self.values['input_format'] == 'pillars' else 'pseudo_image'
        return [TensorSubscription(self, topic, self._in_channels, self.work)]

    def map_shape(self) -> tuple[int, int] | None:
        """That of the last pseudo-image."""
        return self._shape

    def work(self, image: BevTensor | PillarTensor) -> None:
        """Publishes the features of one pseudo-image."""
        self.begin(image.labels.stamp or (0, 0))
        labels = image.labels.strided(self._stride)
        if isinstance(image, PillarTensor):
            features, cells = torch.from_numpy(image.features), torch.from_numpy(image.cells)
            shape = image.canvas
            bev = self.run('backbone', ModelRunner.extract_features, features, cells, shape)
        else:
            tensor = image.tensor
            shape = (tensor.shape[2], tensor.shape[3])
            bev = self.run('backbone', ModelRunner.extract_features_dense, tensor)
        self._shape = shape
        self.computed()
        with self.publishing():
            self._output.publish(bev, labels)
            self._output.publish_picture(bev, labels)
