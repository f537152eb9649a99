# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Memory layout of the points of a PointCloud2; unused fields may be anything."""

from __future__ import annotations

import functools
import math
import operator
from dataclasses import dataclass, replace

import numpy as np

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.compat import DATATYPES, FLOAT32, FLOAT64, cloud_dtype

# Names of the intensity field that 'auto' tries, in this order. Drivers that publish
# both intensity and reflectivity exist, so the order matters.
INTENSITY_NAMES = ('intensity', 'i', 'reflectivity')
COORDINATES = ('x', 'y', 'z')
_COORDINATE_TYPES = (FLOAT32, FLOAT64)

# Values of a PointField in the order of a Field.
field_values = operator.attrgetter('name', 'offset', 'datatype', 'count')


@dataclass(frozen=True)
class CloudOptions:
    """Options of reading intensity and time of a cloud.

    Attributes:
        intensity_field: name of the field, or 'auto' for the first present of
            ``intensity``, ``i``, ``reflectivity``.
        intensity_scale: factor on the intensity, above 0; 1/255 maps 0..255 to 0..1.
        missing_intensity: treatment of a cloud without that field, or in which no value of
            it is finite: 'zero' (intensity 0) or 'error' (the cloud is rejected).
        time_field: name of the per-point time, or '' for none. A cloud without the named
            field is rejected.
        time_scale: seconds in one unit of that field, above 0; 1e-9 for nanoseconds.

    Raises:
        TinyBevError: an option has another value.
    """

    intensity_field: str = 'auto'
    intensity_scale: float = 1.0
    missing_intensity: str = 'zero'
    time_field: str = ''
    time_scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.intensity_field:
            raise TinyBevError("intensity_field is ''; expected 'auto' or the name of a field")
        if self.missing_intensity not in ('zero', 'error'):
            raise TinyBevError(
                f"missing_intensity is {self.missing_intensity!r}; expected 'zero' or 'error'"
            )
        for name in ('intensity_scale', 'time_scale'):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise TinyBevError(f'{name} is {value:g}; expected a finite number above 0')


@dataclass(frozen=True)
class Field:
    """Values of a sensor_msgs/PointField, with its names."""

    name: str
    offset: int
    datatype: int
    count: int


@dataclass(frozen=True)
class PointLayout:
    """Position of the values that are read from a point.

    Attributes:
        fields: fields of x, y, z, intensity (None if absent) and, if asked for, time.
        dtypes: structured dtypes of the fields, little-endian and big-endian. They end after
            the last of the fields, so strides must have the point step.
        is_packed: True if a point is float32 x, y, z, intensity and nothing else.
    """

    fields: tuple[Field | None, ...]
    dtypes: tuple[np.dtype, np.dtype]
    is_packed: bool


# All clouds of a stream have one layout; a node has few streams.
@functools.lru_cache(maxsize=8)
def find_layout(
    fields: tuple[tuple[str, int, int, int], ...], point_step: int, options: CloudOptions
) -> PointLayout:
    """Finds the layout of the points of a cloud.

    Args:
        fields: `field_values` of each field of the message.
        point_step: bytes of one point.
        options: names of intensity and time, and treatment of a cloud without intensity.

    Raises:
        TinyBevError: a field that is needed is absent, repeated, beyond the point or of an
            unsupported type.
    """
    selected = _select([Field(*values) for values in fields], point_step, options)
    unique = {field.name: field for field in selected if field}
    dtype = cloud_dtype(list(unique.values()))
    is_packed = point_step == 16 and all(
        field is not None and field.datatype == FLOAT32 and field.offset == 4 * k
        for k, field in enumerate(selected)
    )
    return PointLayout(
        tuple(selected), (dtype.newbyteorder('<'), dtype.newbyteorder('>')), is_packed
    )


def _select(fields: list[Field], point_step: int, options: CloudOptions) -> list[Field | None]:
    if point_step == 0:
        raise TinyBevError('point_step is 0; expected the bytes of one point')
    by_name: dict[str, list[Field]] = {}
    for field in fields:
        by_name.setdefault(field.name, []).append(field)
    coordinates = [_single(by_name, name, point_step) for name in COORDINATES]
    for field in coordinates:
        if field.datatype not in _COORDINATE_TYPES:
            raise TinyBevError(
                f'field {field.name!r} has datatype {field.datatype}; '
                'expected 7 (float32) or 8 (float64)'
            )
    selected: list[Field | None] = [*coordinates]
    name = options.intensity_field
    candidates = INTENSITY_NAMES if name == 'auto' else (name,)
    present = [name for name in candidates if name in by_name]
    if present:
        selected.append(_single(by_name, present[0], point_step))
    elif options.missing_intensity == 'error':
        raise TinyBevError(
            f'fields are {list(by_name)}; expected an intensity named {" or ".join(candidates)}'
        )
    else:
        selected.append(None)
    if options.time_field:
        selected.append(_single(by_name, options.time_field, point_step))
    return selected


def _single(by_name: dict[str, list[Field]], name: str, point_step: int) -> Field:
    if name not in by_name:
        raise TinyBevError(f'fields are {list(by_name)}; expected one named {name!r}')
    if len(by_name[name]) > 1:
        raise TinyBevError(f'field {name!r} occurs {len(by_name[name])} times; expected once')
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
    # PCL reads a count of 0 as one value; some drivers send it.
    return field if field.count else replace(field, count=1)
