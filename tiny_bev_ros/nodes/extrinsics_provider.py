# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Extrinsics of cameras: from parameters, else from TF where tf2_ros is installed."""

from __future__ import annotations

from collections.abc import Mapping

from rclpy.node import Node
from torch import Tensor

from tiny_bev_ros.messages.message_fields import Stamp
from tiny_bev_ros.models.camera.extrinsics import extrinsics_from_pose
from tiny_bev_ros.nodes.camera_parameters import EXTRINSICS
from tiny_bev_ros.nodes.transform_lookup import TransformLookup


class ExtrinsicsProvider:
    """Provides the extrinsics of each camera, and listens to TF if a camera needs that.

    Args:
        node: node that listens to TF.
        given: extrinsics by camera; None for one that takes them from TF.
    """

    def __init__(self, node: Node, given: Mapping[str, Tensor | None]) -> None:
        self._given = given
        self._tf: TransformLookup | None = None
        if None in given.values():
            self._tf = TransformLookup(node)

    def lookup(self, camera: str, map_frame: str, optical_frame: str, stamp: Stamp) -> Tensor:
        """Returns the transform (4,4) from the map frame to the optical frame at a stamp.

        Where TF has no transform at the stamp, its latest one is used, which is right for a fixed
        camera.

        Raises:
            TinyBevError: the transform is unknown.
        """
        given = self._given[camera]
        if given is not None:
            return given
        assert self._tf is not None
        expected = f'expected a transform, or the parameter {EXTRINSICS}{camera}'
        return extrinsics_from_pose(self._tf.pose(map_frame, optical_frame, stamp, expected))

    def destroy(self) -> None:
        """Ends the TF listener."""
        if self._tf is not None:
            self._tf.destroy()
