# SPDX-License-Identifier: Apache-2.0
"""The subscription to `points` that the nodes share."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from sensor_msgs.msg import PointCloud2

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.model_runner import ModelRunner
from tiny_bev_ros.messages.point_cloud import decode_cloud
from tiny_bev_ros.messages.tensor_labels import TensorLabels
from tiny_bev_ros.nodes import model_factory
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.runtime.subscription import LatestInput

_TYPES = {'sensor_msgs/msg/PointCloud2': PointCloud2}


class LabelledCloud(NamedTuple):
    """A cloud, and what a map that is made of it is labelled with.

    Attributes:
        points: (N,4) or (N,5) float32 [x,y,z,intensity(,time)], all finite, x and y counted
            from the reference of the grid.
        labels: stamp and frame of the cloud, axes of the grid.
    """

    points: np.ndarray
    labels: TensorLabels


class CloudSubscription(LatestInput):
    """Reads clouds as the parameters `cloud.*` of a node say, and counts what is left out.

    Args:
        node: which subscribes.
        grid: of the map that is made of a cloud.
        callback: gets each cloud.
    """

    def __init__(
        self, node: BevNode, grid: BevGrid, callback: Callable[[LabelledCloud], None]
    ) -> None:
        self._options = model_factory.make_cloud_options(node.values)
        self._max_bytes = node.values['max_message_mb'] * 2**20
        self._grid = grid
        super().__init__(node, 'points', _TYPES, self._read, callback, **node.input_options())

    def _read(self, message: PointCloud2) -> LabelledCloud:
        stamp, grid = message.header.stamp, self._grid
        labels = TensorLabels(
            (stamp.sec, stamp.nanosec), message.header.frame_id, grid.y_axis, grid.x_axis
        )
        cloud = decode_cloud(
            message, self._options, max_bytes=self._max_bytes, origin=grid.reference
        )
        self._stats.points.count_decoded(cloud)
        return LabelledCloud(cloud.points, labels)


def pillars_of(
    node: BevNode, cloud: LabelledCloud, grid: BevGrid
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (P,C) and cells (P,2) of a cloud on the grid; counts what lies outside."""
    pillars = node.run('pillars', ModelRunner.encode_points, cloud.points)
    node.stats.points.count_in_grid(cloud.points, pillars.inside, len(pillars.cells), grid)
    return pillars.features, pillars.cells
