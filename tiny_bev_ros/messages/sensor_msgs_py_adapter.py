# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs_py where it is installed, and the same in NumPy where it is not.

Its ``dtype_from_fields`` and ``create_cloud`` are used. Its ``read_points`` is not: it
ignores ``row_step``, keeps infinite points and trusts ``is_dense``.
"""

from __future__ import annotations

import array
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField

from tiny_bev_ros.optional_imports import import_optional

# PointField.datatype -> NumPy type, in the byte order of this machine.
DATATYPES: dict[int, np.dtype] = {
    PointField.INT8: np.dtype(np.int8),
    PointField.UINT8: np.dtype(np.uint8),
    PointField.INT16: np.dtype(np.int16),
    PointField.UINT16: np.dtype(np.uint16),
    PointField.INT32: np.dtype(np.int32),
    PointField.UINT32: np.dtype(np.uint32),
    PointField.FLOAT32: np.dtype(np.float32),
    PointField.FLOAT64: np.dtype(np.float64),
}


_PACKAGE = ('sensor_msgs_py.point_cloud2', 'NumPy reads clouds')


def unavailable_reason() -> str | None:
    """Why NumPy does the work, in one line; None where sensor_msgs_py does it."""
    return import_optional(*_PACKAGE).why_not or None


def cloud_dtype(fields: Sequence[Any]) -> np.dtype:
    """The structured type that reads some fields of one point.

    Args:
        fields: PointField messages with different names, known datatypes and count 1;
            ``sensor_msgs_py`` asserts on duplicates and zero counts, so ask only for
            fields that were checked before.

    Returns:
        A dtype with each field at its offset, in the byte order of this machine. It ends
        behind the last of the fields, so strides must carry the point step.
    """
    module = import_optional(*_PACKAGE).module
    if module is not None:
        return module.dtype_from_fields(fields)
    return np.dtype(
        {
            'names': [field.name for field in fields],
            'formats': [DATATYPES[field.datatype] for field in fields],
            'offsets': [field.offset for field in fields],
        }
    )


def create_cloud(header: Any, fields: list[Any], points: np.ndarray) -> PointCloud2:
    """An unorganised PointCloud2 of packed float32 points.

    Args:
        header: std_msgs Header.
        fields: K PointField messages, float32, count 1, offsets 0, 4, 8, ...
        points: (N, K) float32.
    """
    points = np.ascontiguousarray(points)
    module = import_optional(*_PACKAGE).module
    # create_cloud of sensor_msgs_py casts a memoryview, which fails on an empty one.
    if module is not None and len(points):
        return module.create_cloud(header, fields, points)
    point_step = 4 * len(fields)
    cloud = PointCloud2(
        header=header,
        height=1,
        width=len(points),
        fields=fields,
        is_bigendian=sys.byteorder != 'little',
        point_step=point_step,
        row_step=point_step * len(points),
        is_dense=False,
    )
    # An array.array given as the attribute is taken over; anything else is checked
    # element by element.
    data = array.array('B')
    data.frombytes(points.reshape(-1).view(np.uint8).data)
    cloud.data = data
    return cloud
