# SPDX-License-Identifier: Apache-2.0
"""The drivable area as nav_msgs/OccupancyGrid."""

from __future__ import annotations

import array

import numpy as np
from geometry_msgs.msg import Point, Pose, Quaternion
from nav_msgs.msg import MapMetaData, OccupancyGrid

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.tensor_labels import TensorLabels
from tiny_bev_ros.messages.vision_detections import header_of

UNKNOWN = -1


def encode_drivable(
    drivable: np.ndarray, labels: TensorLabels, height: float, known: np.ndarray | None = None
) -> OccupancyGrid:
    """0 for road surface to 100 for anything else, and UNKNOWN.

    Rows and columns of the message are those of the map, x forward and y left.

    Args:
        drivable: (h,w) float32 probability of road surface.
        labels: with the metric axes of the map.
        height: of the ground in the frame of the map, in metres.
        known: (h,w) bool, false where nothing was looked at; None where that is not known.

    Raises:
        TinyBevError: the labels have no axes, or cells that are not square.
    """
    x_axis, y_axis = labels.x_axis, labels.y_axis
    if x_axis is None or y_axis is None or abs(x_axis.step - y_axis.step) > 1e-6 * x_axis.step:
        raise TinyBevError(
            f'axes are {x_axis} and {y_axis}; expected both, with cells that are square'
        )
    header = header_of(labels)
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
    values = np.rint((1 - drivable) * 100).astype(np.int8)
    if known is not None:
        values[~known] = UNKNOWN
    return OccupancyGrid(header=header, info=info, data=array.array('b', values.tobytes()))
