# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Node from camera images to camera features."""

from __future__ import annotations

from typing import Any

from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.model_runner import ModelRunner
from tiny_bev_ros.messages.camera_features import camera_labels
from tiny_bev_ros.nodes import model_factory
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.image_subscription import CameraImage, ImageSubscription
from tiny_bev_ros.nodes.output_publisher import OutputPublisher
from tiny_bev_ros.nodes.publishers import TensorTopicPublisher


class CameraNode(BevNode):
    """`image` and `camera_info` to `camera_features` (multi-array)."""

    def __init__(self, **node_options: Any) -> None:
        super().__init__('camera_node', **node_options)

    def load(self, values: dict[str, Any]) -> LoadedModels:
        """Loads the camera encoder."""
        return model_factory.load_models(values, self.get_logger(), camera=True)

    def make_outputs(self, values: dict[str, Any], networks: ModelRunner) -> list[OutputPublisher]:
        """Makes the publisher of camera features."""
        self._output = TensorTopicPublisher(self, values, 'camera_features')
        return [self._output]

    def make_inputs(self, values: dict[str, Any]) -> list[Any]:
        """Subscribes to images."""
        return [ImageSubscription(self, self.process)]

    def map_shape(self) -> None:
        """Returns None: the node has no map."""
        return

    def process(self, image: CameraImage) -> None:
        """Publishes the features of one image."""
        self.start_frame(image.stamp)
        with self.timed('decode'):
            rgb = image.rgb()
        features, camera = self.run('encoder', ModelRunner.encode_image, rgb, image.camera)
        labels = camera_labels(camera, image.stamp, image.frame_id)
        with self.publishing():
            self._output.publish(features, labels, self.subscribers.topics)
