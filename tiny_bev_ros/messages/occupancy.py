# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Drivable area as nav_msgs/OccupancyGrid."""

from __future__ import annotations

import array

import numpy as np
from geometry_msgs.msg import Point, Pose, Quaternion
from nav_msgs.msg import MapMetaData, OccupancyGrid

from tiny_bev_ros.messages.occupancy_values import occupancy_values
from tiny_bev_ros.messages.tensor_labels import TensorLabels


def encode_drivable(
    drivable: np.ndarray, labels: TensorLabels, height: float, known: np.ndarray | None = None
) -> OccupancyGrid:
    """Encodes the drivable area: 0 for road surface to 100 for anything else, -1 for unknown.

    Rows and columns of the message are those of the BEV features, x forward and y left.

    Args:
        drivable: (h,w) float32 probability of road surface.
        labels: stamp, frame and metric axes of the area.
        height: height of the ground in the frame of the labels, in metres.
        known: (h,w) bool, False for unobserved cells; None if all count as observed.

    Raises:
        TinyBevError: the labels have no axes, or cells that are not square.
    """
    x_axis, y_axis = labels.square_axes()
    header = labels.to_header()
    rows, cols = drivable.shape
    info = MapMetaData(
        map_load_time=header.stamp,
        resolution=x_axis.step,
        width=cols,
        height=rows,
        origin=Pose(
            position=Point(x=x_axis.origin, y=y_axis.origin, z=height),
            orientation=Quaternion(x=0.0, y=0.0, z=0.0, w=1.0),
        ),
    )
    values = occupancy_values(drivable, known)
    return OccupancyGrid(header=header, info=info, data=array.array('b', values.tobytes()))
