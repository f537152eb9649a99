# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Node from point clouds and images to features, detections and drivable area."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from tiny_bev_ros.inference.fusion_runner import View
from tiny_bev_ros.inference.head_runner import HeadOutputs
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.model_runner import ModelRunner
from tiny_bev_ros.messages.tensor_labels import TensorLabels
from tiny_bev_ros.models.camera.geometry import Camera
from tiny_bev_ros.models.device import copy_to_host
from tiny_bev_ros.models.levelling import Levelling
from tiny_bev_ros.models.observed_ground import observed_cells, road_height
from tiny_bev_ros.nodes import model_factory
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.camera_parameters import camera_names, fixed_extrinsics
from tiny_bev_ros.nodes.camera_sync import CameraSync
from tiny_bev_ros.nodes.cloud_leveller import CloudLeveller
from tiny_bev_ros.nodes.head_publishers import HeadPublishers
from tiny_bev_ros.nodes.image_subscription import CameraImage, PairedCameraSubscription
from tiny_bev_ros.nodes.output_publisher import OutputPublisher
from tiny_bev_ros.nodes.publishers import FeaturePublisher, PillarPublisher, TensorTopicPublisher
from tiny_bev_ros.nodes.subscriptions import CloudSubscription, LabelledCloud, run_pillars
from tiny_bev_ros.runtime.stats import CameraStats


class PipelineNode(BevNode):
    """`points` (PointCloud2) to `bev_features`, `detections` and all other outputs of the package.

    Pillars pass from one network to the next without a pseudo-image, which is built only for its
    subscribers. With cameras, the features are fused with `NAME/image` and
    `NAME/camera_info` of each, and the heads run on `fused_features`.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__('pipeline_node', **node_options)

    def load(self, values: dict[str, Any]) -> LoadedModels:
        """Loads pillar feature net, backbone, heads, camera encoder and fusion."""
        model_factory.check_channels(values)
        # Wrong options and poses are refused now rather than with the first cloud.
        model_factory.make_cloud_options(values)
        model_factory.make_self_box(values)
        has_cameras = bool(fixed_extrinsics(values))
        return model_factory.load_models(
            values,
            self.get_logger(),
            pfn=True,
            backbone=True,
            heads=bool(values['heads.names']),
            camera=has_cameras,
            fusion=has_cameras,
        )

    def make_outputs(self, values: dict[str, Any], networks: ModelRunner) -> list[OutputPublisher]:
        """Makes the publishers of pillars, features, heads and, with cameras, fused features."""
        backbone = networks.backbone
        assert backbone is not None
        self._grid, self._stride = model_factory.make_grid(values), backbone.stride
        self._shape, self._feature_grid = self._grid.shape, self._grid.strided(self._stride)
        self._y_axis = self._grid.y_axis.strided(self._stride)
        self._x_axis = self._grid.x_axis.strided(self._stride)
        self._pillars = PillarPublisher(self, values, self._grid)
        self._features = FeaturePublisher(self, values, backbone.channels, self._feature_grid)
        if not networks.has_features:
            self._features.withhold('backbone.exported_network computes the heads as well')
        self._heads = HeadPublishers(self, values)
        self._fused: TensorTopicPublisher | None = None
        self._pillar_topics, self._head_topics = self._pillars.topics, self._heads.topics
        if not camera_names(values):
            return [self._pillars, self._features, self._heads]
        self._fused = TensorTopicPublisher(self, values, 'fused_features')
        return [self._pillars, self._features, self._heads, self._fused]

    def make_inputs(self, values: dict[str, Any]) -> list[Any]:
        """Subscribes to images and clouds."""
        self._cameras = CameraSync(self, self._subscribe, self._encode)
        self._leveller = CloudLeveller(self, self._grid)
        return [self._cameras, CloudSubscription(self, self._grid, self.process)]

    def map_shape(self) -> tuple[int, int]:
        """Returns (H,W) of the grid."""
        return model_factory.make_grid(self.values).shape

    def process(self, cloud: LabelledCloud) -> None:
        """Publishes the outputs of one cloud on the topics that have subscribers."""
        topics, only_debug = self.subscribers.topics, self.subscribers.only_debug
        self.start_frame(cloud.labels.stamp)
        cloud = self._leveller.level(cloud)
        pillars = run_pillars(self, cloud, self._grid)
        if topics & self._pillar_topics:
            with self.publishing():
                self._pillars.publish(pillars, cloud.labels, topics)
        if topics <= self._pillar_topics and not only_debug:
            return
        features = self.run_backbone(ModelRunner.extract_features, *pillars, self._shape)
        labels = replace(cloud.labels, y_axis=self._y_axis, x_axis=self._x_axis)
        if 'bev_features' in topics:
            with self.publishing():
                self._features.publish(features, labels, topics)
        # Outputs of untrained heads are not drawn.
        drawn = 'bev_image' in topics and bool(self.values['heads.checkpoint'])
        run_heads = bool(self.values['heads.names']) and (
            drawn or only_debug or bool(topics & self._head_topics)
        )
        fused = self._fuse(features, labels, cloud.levelling, run_heads)
        outputs = None
        if run_heads:
            outputs = self._leveller.restore(self._run_heads(fused, cloud), cloud)
        with self.publishing():
            if outputs is not None:
                ground = partial(self._observe_ground, cloud, pillars[1], outputs)
                self._heads.publish(outputs, labels, topics, ground)
            if 'bev_image' in topics:
                positions = self._positions(pillars[1])
                shown = outputs if drawn else None
                self._features.publish_image(features, labels, topics, shown, positions)

    def _fuse(
        self,
        features: torch.Tensor,
        labels: TensorLabels,
        levelling: Levelling | None,
        run_heads: bool,
    ) -> torch.Tensor:
        """Returns the features for the heads, fused with cameras if there are any."""
        topics = self.subscribers.topics
        if self._fused is None or not ('fused_features' in topics or run_heads):
            return features
        fused = self._cameras.fuse(features, labels, levelling)
        with self.publishing():
            self._fused.publish(fused, labels, topics)
        return fused

    def _run_heads(self, features: torch.Tensor, cloud: LabelledCloud) -> HeadOutputs:
        scores, grid = self._heads.min_scores, self._feature_grid
        outputs = self.run('heads', ModelRunner.detect, features, grid, scores)
        loaded = self.models.loaded
        if loaded is not None and loaded.refinement is not None and outputs.detections is not None:
            sensor = self._sensor(cloud)
            outputs = self.run(
                'refinement', ModelRunner.refine, outputs, cloud.points, scores, sensor
            )
        return outputs

    def _sensor(self, cloud: LabelledCloud) -> tuple[float, float]:
        """Returns x and y of the sensor, relative to the reference of the grid, in metres.

        Clouds that come in a frame far from the sensor do not tell where it is: the middle of the
        grid stands for it.
        """
        if not any(cloud.sensor):
            return (0.0, 0.0)
        x, y = self._grid.reference
        return (cloud.sensor[0] - x, cloud.sensor[1] - y)

    def _subscribe(self, name: str, stats: CameraStats, keep: Callable[[Any], None]) -> list[Any]:
        return [PairedCameraSubscription(self, name, stats, keep)]

    def _encode(self, image: CameraImage, camera: Camera) -> View:
        with self.timed('decode'):
            rgb = image.rgb()
        return self.run('encoder', ModelRunner.encode_image, rgb, camera)

    def _observe_ground(
        self, cloud: LabelledCloud, cells: torch.Tensor, outputs: HeadOutputs
    ) -> tuple[np.ndarray | None, float | None]:
        """Returns the observed cells of the drivable area, and its height, for subscribers."""
        if 'drivable_area' not in self.subscribers.topics:
            return None, None
        row, col = (cells // self._stride).T
        known = observed_cells(row, col, self._feature_grid.shape).numpy()
        # Points are relative to the reference of the grid.
        grid = self._grid.local.strided(self._stride)
        height = road_height(cloud.points, outputs['drivable'], grid)
        if height is not None and cloud.levelling is not None:
            height = cloud.levelling.restore_height(height)
        return known, height

    def _positions(self, cells: torch.Tensor) -> np.ndarray:
        """Returns x and y of the pillars, (N,2), m."""
        row, col = copy_to_host(cells)[0].numpy().T
        return np.column_stack([self._grid.x_axis.centre(col), self._grid.y_axis.centre(row)])
