# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Target frame of clouds: transforms their points by TF."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rclpy.node import Node

from tiny_bev_ros.messages.message_fields import Stamp
from tiny_bev_ros.models.camera.extrinsics import transform_from_pose
from tiny_bev_ros.nodes.transform_lookup import TransformLookup

_EXPECTED = "expected a transform, or the parameter cloud.target_frame ''"


@dataclass(frozen=True)
class CloudTransform:
    """Transform of a cloud into the target frame.

    Attributes:
        matrix: (4,4) float64 transform from the frame of the cloud to the target frame.
        reference: position (x, y) in the target frame that is subtracted from the points.
    """

    matrix: np.ndarray
    reference: tuple[float, float]

    @property
    def origin(self) -> tuple[float, float]:
        """Position (x, y) of the sensor in the target frame, in metres."""
        return float(self.matrix[0, 3]), float(self.matrix[1, 3])

    def points(self, points: np.ndarray) -> np.ndarray:
        """Returns transformed points (N,F), a copy of (N,F) float32 x, y, z and further values."""
        transformed = points.copy()
        # The sum is exact to the last digit of its small result, even far from the map's origin.
        shift = self.matrix[:3, 3] - np.array([*self.reference, 0.0])
        rotation = self.matrix[:3, :3].T
        transformed[:, :3] = points[:, :3] @ rotation.astype(np.float32) + shift.astype(np.float32)
        return transformed


class TargetFrame:
    """Looks up the transform of clouds into `cloud.target_frame`.

    Args:
        node: node that listens to TF, if there is a target frame.
        name: target frame; '' for none.
        reference: position (x, y) in the target frame that is subtracted from points, see
            `BevGrid.reference`.

    Attributes:
        name: target frame; '' for none.
    """

    def __init__(self, node: Node, name: str, reference: tuple[float, float]) -> None:
        self.name, self._reference = name, reference
        self._tf = TransformLookup(node) if name else None

    def transform(self, frame_id: str, stamp: Stamp) -> CloudTransform | None:
        """Returns the transform of a cloud; None where its frame is the target frame already.

        Args:
            frame_id: frame of the cloud.
            stamp: stamp of the cloud, (sec, nanosec).

        Raises:
            TinyBevError: TF does not have the transform.
        """
        if self._tf is None or frame_id == self.name:
            return None
        pose = self._tf.pose(self.name, frame_id, stamp, _EXPECTED)
        return CloudTransform(transform_from_pose(pose).numpy(), self._reference)

    def destroy(self) -> None:
        """Ends the TF listener."""
        if self._tf is not None:
            self._tf.destroy()
