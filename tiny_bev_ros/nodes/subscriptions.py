# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Subscriptions to point clouds and to tensors, whose newest message a node processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from sensor_msgs.msg import PointCloud2

from tiny_bev_ros.client import TENSOR_TYPES
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.model_runner import ModelRunner
from tiny_bev_ros.messages.message_fields import stamp_of
from tiny_bev_ros.messages.pillar_tensor import PillarTensor, decode_pillars
from tiny_bev_ros.messages.point_cloud import decode_cloud
from tiny_bev_ros.messages.tensor import BevTensor, decode_tensor
from tiny_bev_ros.messages.tensor_labels import TensorLabels
from tiny_bev_ros.models.levelling import Levelling
from tiny_bev_ros.nodes import model_factory
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.target_frame import TargetFrame
from tiny_bev_ros.runtime.subscription import LatestInput

_CLOUD_TYPES = {'sensor_msgs/msg/PointCloud2': PointCloud2}
# Decoder of each topic with tensors.
_DECODERS: dict[str, Any] = {
    'pseudo_image': decode_tensor,
    'pillars': decode_pillars,
    'bev_features': decode_tensor,
}


class LabelledCloud(NamedTuple):
    """A cloud with the labels of the map that is made of it.

    Attributes:
        points: (N,4) or (N,5) float32 [x,y,z,intensity(,time)], all finite, x and y relative to
            the reference of the grid.
        labels: stamp and frame of the cloud, axes of the grid.
        sensor: position (x, y) of the sensor in that frame, in metres.
        levelling: transform by which the points were levelled; None for none.
    """

    points: np.ndarray
    labels: TensorLabels
    sensor: tuple[float, float] = (0.0, 0.0)
    levelling: Levelling | None = None


class CloudSubscription(LatestInput):
    """Decodes clouds according to the parameters `cloud.*`, and counts points that are dropped.

    Args:
        node: node that subscribes.
        grid: grid of the map that is made of a cloud.
        callback: receives each cloud.
    """

    def __init__(
        self, node: BevNode, grid: BevGrid, callback: Callable[[LabelledCloud], None]
    ) -> None:
        values = node.values
        self._options = model_factory.make_cloud_options(values)
        self._self_box = model_factory.make_self_box(values)
        self._max_bytes = values['max_message_mb'] * 2**20
        self._reference, self._axes = grid.reference, (grid.y_axis, grid.x_axis)
        self._target = TargetFrame(node, values['cloud.target_frame'], grid.reference)
        super().__init__(
            node, 'points', _CLOUD_TYPES, self._decode_cloud, callback, **node.input_options()
        )

    def destroy(self) -> None:
        """Ends the subscription, its thread and the TF listener."""
        try:
            super().destroy()
        finally:
            self._target.destroy()

    def _decode_cloud(self, message: PointCloud2) -> LabelledCloud:
        stamp, frame_id = stamp_of(message), message.header.frame_id
        transform = self._target.transform(frame_id, stamp)
        cloud = decode_cloud(
            message,
            self._options,
            max_bytes=self._max_bytes,
            origin=self._reference if transform is None else (0.0, 0.0),
        )
        self._stats.points.count_decoded(cloud)
        points, sensor = cloud.points, (0.0, 0.0)
        if transform is not None:
            points, sensor = transform.points(points), transform.origin
            frame_id = self._target.name
        if self._self_box is not None:
            count = len(points)
            points = self._self_box.outside(points, self._reference)
            self._stats.points.own = count - len(points)
        return LabelledCloud(points, TensorLabels(stamp, frame_id, *self._axes), sensor)


def run_pillars(
    node: BevNode, cloud: LabelledCloud, grid: BevGrid
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns features (P,C) and cells (P,2) of a cloud, and counts the points in the grid."""
    pillars = node.run('pillars', ModelRunner.encode_points, cloud.points)
    node.stats.points.count_in_grid(cloud.points, pillars.inside, len(pillars.cells), grid)
    return pillars.features, pillars.cells


class TensorSubscription(LatestInput):
    """Decodes tensors; one without stamp or frame gets the present time or `frame_id`.

    Args:
        node: node that subscribes.
        topic: pseudo_image, pillars or bev_features.
        channels: number of channels that a tensor must have.
        callback: receives each tensor.
    """

    def __init__(
        self,
        node: BevNode,
        topic: str,
        channels: int,
        callback: Callable[[Any], None],
    ) -> None:
        self._node = node
        self._decode_any = partial(
            _DECODERS[topic], channels=channels, max_bytes=node.values['max_message_mb'] * 2**20
        )
        super().__init__(
            node, topic, TENSOR_TYPES, self._decode_tensor, callback, **node.input_options()
        )

    def _decode_tensor(self, message: Any) -> BevTensor | PillarTensor:
        tensor = self._decode_any(message)
        labels = tensor.labels
        if labels.stamp is None:
            now = self._node.get_clock().now().seconds_nanoseconds()
            labels = dataclasses.replace(labels, stamp=now)
        if labels.frame_id is None:
            labels = dataclasses.replace(labels, frame_id=self._node.values['frame_id'])
        return dataclasses.replace(tensor, labels=labels)
