# SPDX-License-Identifier: Apache-2.0
"""The fields of a PointCloud2 that are read; those that nobody needs may be anything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sensor_msgs.msg import PointField

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.sensor_msgs_py_adapter import DATATYPES

# Names of the intensity field that 'auto' tries, in this order. Drivers that publish
# both intensity and reflectivity exist, so the order matters.
INTENSITY_NAMES = ('intensity', 'i', 'reflectivity')
COORDINATES = ('x', 'y', 'z')
_COORDINATE_TYPES = (PointField.FLOAT32, PointField.FLOAT64)


def wanted_fields(
    fields: Iterable[Any],
    point_step: int,
    *,
    intensity: str,
    needs_intensity: bool,
    time: str,
) -> list[Any]:
    """The fields of x, y, z, intensity (None where there is none) and, if asked for, time.

    Args:
        fields: of the message.
        point_step: bytes of one point.
        intensity: name of that field, or 'auto' for the first present of INTENSITY_NAMES.
        needs_intensity: refuse a cloud without it.
        time: name of that field, or '' for none.

    Raises:
        TinyBevError: one of them is absent, doubled, beyond the point or of a type that is not
            read.
    """
    if point_step == 0:
        raise TinyBevError('point_step is 0; expected the bytes of one point')
    by_name: dict[str, list[Any]] = {}
    for field in fields:
        by_name.setdefault(field.name, []).append(field)
    wanted = [_single(by_name, name, point_step) for name in COORDINATES]
    for field in wanted:
        if field.datatype not in _COORDINATE_TYPES:
            raise TinyBevError(
                f'field {field.name!r} has datatype {field.datatype}; '
                'expected 7 (float32) or 8 (float64)'
            )
    candidates = INTENSITY_NAMES if intensity == 'auto' else (intensity,)
    present = [name for name in candidates if name in by_name]
    if present:
        wanted.append(_single(by_name, present[0], point_step))
    elif needs_intensity:
        raise TinyBevError(
            f'fields are {list(by_name)}; expected an intensity named {" or ".join(candidates)}'
        )
    else:
        wanted.append(None)
    if time:
        wanted.append(_single(by_name, time, point_step))
    return wanted


def _single(by_name: dict[str, list[Any]], name: str, point_step: int) -> Any:
    if name not in by_name:
        raise TinyBevError(f'fields are {list(by_name)}; expected one named {name!r}')
    if len(by_name[name]) > 1:
        raise TinyBevError(f'field {name!r} is there {len(by_name[name])} times; expected 1')
    field = by_name[name][0]
    if field.datatype not in DATATYPES:
        raise TinyBevError(f'field {name!r} has datatype {field.datatype}; expected 1 to 8')
    if field.count not in (0, 1):
        raise TinyBevError(f'field {name!r} has count {field.count}; expected 1')
    end = field.offset + DATATYPES[field.datatype].itemsize
    if end > point_step:
        raise TinyBevError(
            f'field {name!r} ends at byte {end}; expected at most the point_step of {point_step}'
        )
    # PCL takes a count of 0 for one value, as some drivers send it.
    return (
        field
        if field.count
        else PointField(name=name, offset=field.offset, datatype=field.datatype, count=1)
    )
