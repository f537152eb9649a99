# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Node from BEV features and camera features to fused features."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tiny_bev_ros.client import TENSOR_TYPES
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.fusion_runner import View
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.model_runner import ModelRunner
from tiny_bev_ros.messages.camera_features import CameraFeatures, decode_camera_features
from tiny_bev_ros.messages.tensor import BevTensor
from tiny_bev_ros.models.camera.geometry import Camera
from tiny_bev_ros.nodes import model_factory
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.camera_parameters import fixed_extrinsics
from tiny_bev_ros.nodes.camera_sync import CameraInput, CameraSync
from tiny_bev_ros.nodes.output_publisher import OutputPublisher
from tiny_bev_ros.nodes.publishers import TensorTopicPublisher
from tiny_bev_ros.nodes.subscriptions import TensorSubscription
from tiny_bev_ros.runtime.stats import CameraStats


class FusionNode(BevNode):
    """`bev_features` and `NAME/camera_features` of each camera to `fused_features`."""

    def __init__(self, **node_options: Any) -> None:
        super().__init__('fusion_node', **node_options)

    def load(self, values: dict[str, Any]) -> LoadedModels:
        """Loads the fusion."""
        # Wrong poses are refused now rather than when the node subscribes to cameras.
        if not fixed_extrinsics(values):
            raise TinyBevError(
                f'parameter cameras is {values["cameras"]}; expected at least one name'
            )
        return model_factory.load_models(values, self.get_logger(), fusion=True)

    def make_outputs(self, values: dict[str, Any], networks: ModelRunner) -> list[OutputPublisher]:
        """Makes the publisher of fused features."""
        assert networks.fusion is not None
        self._channels = networks.fusion.channels
        self._camera_channels = networks.fusion.camera_channels
        self._output = TensorTopicPublisher(self, values, 'fused_features')
        return [self._output]

    def make_inputs(self, values: dict[str, Any]) -> list[Any]:
        """Subscribes to camera features and BEV features."""
        self._cameras = CameraSync(self, self._subscribe, _view)
        return [
            self._cameras,
            TensorSubscription(self, 'bev_features', self._channels, self.process),
        ]

    def map_shape(self) -> None:
        """Returns None: the fusion takes maps of any size."""
        return

    def process(self, features: BevTensor) -> None:
        """Publishes one map of features, fused with the cameras."""
        self.start_frame(features.labels.stamp)
        bev = features.tensor.float()
        if len(bev) != 1:
            raise TinyBevError(f'batch size is {len(bev)}; expected 1, which has one stamp')
        fused = self._cameras.fuse(bev, features.labels)
        with self.publishing():
            self._output.publish(fused, features.labels, self.subscribers.topics)

    def _subscribe(
        self, name: str, stats: CameraStats, keep: Callable[[Any], None]
    ) -> list[CameraInput]:
        decode = partial(
            decode_camera_features,
            channels=self._camera_channels,
            max_bytes=self.values['max_message_mb'] * 2**20,
        )
        return [CameraInput(self, f'{name}/camera_features', TENSOR_TYPES, decode, keep, stats)]


def _view(features: CameraFeatures, camera: Camera) -> View:
    return features.tensor.float(), camera
