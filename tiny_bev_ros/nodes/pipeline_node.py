# SPDX-License-Identifier: Apache-2.0
"""Point clouds and images in; features, objects and drivable area out, in one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from tiny_bev_ros.inference.fusion_runner import View
from tiny_bev_ros.inference.head_runner import HeadOutputs
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.model_runner import ModelRunner
from tiny_bev_ros.messages.tensor_labels import TensorLabels
from tiny_bev_ros.models.camera.geometry import Camera
from tiny_bev_ros.models.observed_ground import observed_cells, road_height
from tiny_bev_ros.nodes import model_factory
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.camera_parameters import camera_names, fixed_extrinsics
from tiny_bev_ros.nodes.camera_sync import CameraSync
from tiny_bev_ros.nodes.cloud_subscription import CloudSubscription, LabelledCloud, pillars_of
from tiny_bev_ros.nodes.head_publishers import HeadPublisher
from tiny_bev_ros.nodes.image_subscription import CameraImage, PairedCameraSubscription
from tiny_bev_ros.nodes.publishers import FeaturePublisher, PillarPublisher, TensorTopicPublisher
from tiny_bev_ros.runtime.stats import CameraStats


class PipelineNode(BevNode):
    """`points` (PointCloud2) to `bev_features`, `detections` and all else that nodes publish.

    The pillars go from one network to the other as they are: a pseudo-image is laid out only
    for those who subscribe to it. With cameras, `NAME/image` and `NAME/camera_info` of each are
    looked at, and the heads see `fused_features`.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__('pipeline_node', **node_options)

    def load(self, values: dict[str, Any]) -> LoadedModels:
        """Pillar feature net, backbone and what follows, which must fit each other."""
        model_factory.check_channels(values)
        model_factory.make_cloud_options(values)  # is wrong now rather than with the first cloud
        fused = bool(
            fixed_extrinsics(values)
        )  # poses are wrong now rather than with the first cloud
        return model_factory.load_models(
            values,
            self.get_logger(),
            pfn=True,
            backbone=True,
            heads=bool(values['heads.names']),
            camera=fused,
            fusion=fused,
        )

    def make_outputs(self, values: dict[str, Any], networks: Any) -> list[Any]:
        """Pillars, features, picture, objects, drivable area and, with cameras, fused features."""
        self._grid, self._stride = model_factory.make_grid(values), networks.backbone.stride
        self._pillars = PillarPublisher(self, values, self._grid)
        self._fine = self._grid.strided(self._stride)
        self._features = FeaturePublisher(self, values, networks.backbone.channels, self._fine)
        self._seen = HeadPublisher(self, values)
        self._fused: TensorTopicPublisher | None = None
        if not camera_names(values):
            return [self._pillars, self._features, self._seen]
        self._fused = TensorTopicPublisher(self, values, 'fused_features')
        return [self._pillars, self._features, self._seen, self._fused]

    def make_inputs(self, values: dict[str, Any]) -> list[Any]:
        """Images and clouds."""
        self._views = CameraSync(self, self._subscribe, self._view)
        return [self._views, CloudSubscription(self, self._grid, self.work)]

    def map_shape(self) -> tuple[int, int]:
        """That of the grid."""
        return model_factory.make_grid(self.values).shape

    def work(self, cloud: LabelledCloud) -> None:
        """Publishes what is wanted of one cloud."""
        self.begin(cloud.labels.stamp or (0, 0))
        pillars = pillars_of(self, cloud, self._grid)
        if self._pillars.wanted:
            with self.publishing():
                self._pillars.publish(pillars, cloud.labels)
        read = (self._features, self._seen, self._fused)
        if not (any(each.wanted for each in read if each) or self.only_times_wanted):
            return
        shape = self._grid.shape
        features = self.run('backbone', ModelRunner.extract_features, *pillars, shape)
        self.computed()
        labels = cloud.labels.strided(self._stride)
        with self.publishing():
            self._features.publish(features, labels)
        fused = self._fuse(features, labels)
        seen = self._look(fused)
        with self.publishing():
            if seen is not None:
                ground = self._ground(cloud.points, pillars[1], seen.drivable)
                self._seen.publish(seen, labels, known=ground[0], height=ground[1])
            # Of heads that are not trained nothing is drawn.
            drawn = seen if self.values['heads.checkpoint'] else None
            places = self._places(pillars[1])
            self._features.publish_picture(features, labels, drawn, places)

    def _fuse(self, features: torch.Tensor, labels: TensorLabels) -> torch.Tensor:
        """What the heads look at: the features, fused where there are cameras and it is wanted."""
        if self._fused is None or not (self._fused.wanted or self._heads_wanted):
            return features
        fused = self._views.fuse(features, labels)
        with self.publishing():
            if self._fused.wanted:
                self._fused.publish(fused, labels)
        return fused

    @property
    def _heads_wanted(self) -> bool:
        if not self.values['heads.names']:
            return False
        drawn = self._features.picture_wanted and self.values['heads.checkpoint']
        return self._seen.wanted or bool(drawn) or self.only_times_wanted

    def _subscribe(self, name: str, stats: CameraStats, keep: Callable[[Any], None]) -> list[Any]:
        return [PairedCameraSubscription(self, name, stats, keep)]

    def _view(self, image: CameraImage, camera: Camera) -> View:
        with self.timed('decode'):
            rgb = image.rgb()
        return self.run('encoder', ModelRunner.encode_image, rgb, camera)

    def _look(self, features: torch.Tensor) -> HeadOutputs | None:
        """What the heads see, if somebody wants it."""
        if not self._heads_wanted:
            return None
        scores = self._seen.min_scores
        return self.run('heads', ModelRunner.detect, features, self._fine, scores)

    def _ground(
        self, points: np.ndarray, cells: torch.Tensor, drivable: torch.Tensor | None
    ) -> tuple[np.ndarray | None, float | None]:
        """Which cells of the drivable area were looked at, and its height, if it is wanted."""
        if drivable is None or not self._seen.area_wanted:
            return None, None
        row, col = (cells // self._stride).T
        known = observed_cells(row, col, self._fine.shape).numpy()
        return known, road_height(points, drivable, self._fine)

    def _places(self, cells: torch.Tensor) -> np.ndarray | None:
        """(N,2) x and y of the pillars, for the picture."""
        if not self._features.picture_wanted:
            return None
        row, col = cells.cpu().numpy().T
        return np.column_stack([self._grid.x_axis.centre(col), self._grid.y_axis.centre(row)])
