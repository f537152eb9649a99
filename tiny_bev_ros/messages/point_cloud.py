# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""sensor_msgs/PointCloud2 to points and back."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.compat import FLOAT32, create_cloud
from tiny_bev_ros.messages.message_fields import Stamp, byte_view, check_max_bytes, make_header
from tiny_bev_ros.messages.point_layout import (
    COORDINATES,
    CloudOptions,
    PointLayout,
    field_values,
    find_layout,
)

if TYPE_CHECKING:
    from sensor_msgs.msg import PointCloud2

# Bounds of coordinates in metres: less than a micrometre is noise, and ECEF ends below 1e7.
_MIN_METRES, _MAX_METRES = 1e-6, 1e8
# Sample of a cloud: about one in six numbers read in the wrong order is in bounds by chance.
_ORDER_ROWS, _ORDER_SIZE = 8, 64
# Number of points, spread over the cloud, that mostly prove that it has an intensity.
_SAMPLE_SIZE = 256


@dataclass(frozen=True)
class DecodedCloud:
    """Finite points of one cloud.

    Attributes:
        points: (N, 4) float32 x, y, z in metres and intensity, or (N, 5) with time in
            seconds. May be a read-only view of the data of the message.
        dropped: number of points dropped because one of these values is NaN, infinite
            or too large for float32.
        notes: one line for each statement of the message that is wrong and was not followed.
    """

    points: np.ndarray
    dropped: int
    notes: tuple[str, ...] = ()


_DEFAULTS = CloudOptions()


def decode_cloud(
    msg: Any,
    options: CloudOptions = _DEFAULTS,
    *,
    max_bytes: int | None = None,
    origin: tuple[float, float] = (0.0, 0.0),
) -> DecodedCloud:
    """Decodes the points of a PointCloud2 of any layout.

    Fields may come in any order, with any padding, unaligned and in both byte orders;
    coordinates are float32 or float64 (then rounded to float32), intensity and time of
    any type. Rows may be padded; a ``row_step`` of 0 means that they are not. Points of
    an organised cloud come row by row. A cloud without points is valid.

    Flags are not trusted. Whatever ``is_dense`` states, a point with a NaN or infinite
    coordinate, intensity or time is dropped and counted. Where coordinates are metres only
    in the byte order that ``is_bigendian`` denies, they are read in that one.

    Time is always relative to the earliest point that is kept: absolute seconds do not
    fit float32, so the difference is taken in float64.

    Args:
        msg: a sensor_msgs/PointCloud2 of rclpy, or an object with the same attributes;
            ``data`` is anything with the buffer protocol.
        options: options of intensity and time.
        max_bytes: largest size of the data, and of the points as float32; None for any size.
        origin: x and y in metres that are subtracted from those of the points, in float64.

    Raises:
        TinyBevError: the fields, the steps and the data contradict each other, a field that is
            needed is absent, repeated or of an unsupported type, coordinates are no metres
            in either byte order, or the cloud is too large.
    """
    columns = 5 if options.time_field else 4
    height, width, point_step = int(msg.height), int(msg.width), int(msg.point_step)
    if height * width == 0:
        empty = np.empty((0, columns), np.float32)
        return DecodedCloud(empty, 0, _surplus_note(msg, len(msg.data), 0))
    layout = find_layout(tuple(map(field_values, msg.fields)), point_step, options)
    data, row_step = _checked_data(msg, height, width, point_step)
    check_max_bytes('the cloud', max(height * width * columns * 4, data.nbytes), max_bytes)
    notes = _surplus_note(msg, data.nbytes, height * row_step)

    big = bool(msg.is_bigendian)
    records: np.ndarray = np.ndarray(
        (height, width), layout.dtypes[big], data, strides=(row_step, point_step)
    )
    if not _is_declared_order(records):
        big = not big
        records = records.view(layout.dtypes[big])
        notes += (
            f'is_bigendian is {not big}, but coordinates are metres in the other byte order '
            f'only; expected {big}, and read so',
        )

    unchanged = not (big or options.time_field or options.intensity_scale != 1 or any(origin))
    if unchanged and layout.is_packed and row_step == width * point_step:
        packed = np.frombuffer(data, '<f4', count=4 * height * width).reshape(-1, 4)
        points = np.require(packed, np.float32, ['ALIGNED'])
    else:
        points = _converted(records, layout, options, origin)
    points, missing = _with_intensity(points, options)
    if options.time_field:
        points[:, 4] = _seconds(records[options.time_field].reshape(-1), points, options)
    return _drop_non_finite(points, notes + missing)


def _checked_data(msg: Any, height: int, width: int, point_step: int) -> tuple[memoryview, int]:
    """Returns the data as bytes, and the row step, with 0 replaced by that of packed rows.

    Raises:
        TinyBevError: sizes, steps and data contradict each other.
    """
    packed_row = width * point_step
    row_step = int(msg.row_step) or packed_row
    if row_step < packed_row:
        raise TinyBevError(
            f'row_step is {row_step}; expected at least {packed_row} '
            f'(width {width} x point_step {point_step}), or 0'
        )
    sizes = f'height {height}, width {width}, row_step {row_step}, point_step {point_step}'
    return byte_view(msg.data, (height - 1) * row_step + packed_row, sizes), row_step


def _is_declared_order(records: np.ndarray) -> bool:
    """Returns True if the coordinates are metres in the declared byte order, else False.

    Where the coordinates give no evidence, as all are 0 or NaN, the declaration holds.

    Args:
        records: (H, W) with the fields x, y and z, float32 or float64, as declared.

    Raises:
        TinyBevError: the coordinates are out of bounds in both orders.
    """
    height, width = records.shape
    rows = min(height, _ORDER_ROWS)
    sample = records[:: -(-height // rows), :: -(-width * rows // _ORDER_SIZE)]
    sizes = _magnitudes(sample, swapped=False)
    if 2 * _count_plausible(sizes) >= sizes.size:  # true of most clouds
        return True
    for part in (sample, records):
        known = _usable(_magnitudes(part, swapped=False))
        other = _usable(_magnitudes(part, swapped=True))
        if known.size and 2 * _count_plausible(known) >= known.size:
            return True
        if other.size and 2 * _count_plausible(other) >= other.size:
            return False
        if known.size and other.size:
            break  # without both, all of the sample may have been NaN, a number when swapped
    if 2 * np.count_nonzero(known > _MAX_METRES) > known.size:
        raise TinyBevError(
            f'coordinates are about {np.median(known):.3g} m and no better in the other byte '
            f'order; expected at most {_MAX_METRES:g} m'
        )
    return True


def _magnitudes(sample: np.ndarray, *, swapped: bool) -> np.ndarray:
    """Returns (N,) float64 magnitudes of x, y and z, as declared or with swapped bytes."""
    columns = [sample[name] for name in COORDINATES]
    if swapped:
        columns = [column.view(column.dtype.newbyteorder('S')) for column in columns]
    sizes = np.empty((3, *sample.shape))
    # Signalling NaNs raise the flag `invalid`.
    with np.errstate(invalid='ignore'):
        for axis, column in enumerate(columns):
            sizes[axis] = column
    return np.abs(sizes, out=sizes).reshape(-1)


def _usable(sizes: np.ndarray) -> np.ndarray:
    """Returns the magnitudes that give evidence: 0 is 0 in both orders."""
    return sizes[np.isfinite(sizes) & (sizes != 0)]


def _count_plausible(sizes: np.ndarray) -> int:
    return int(np.count_nonzero((sizes >= _MIN_METRES) & (sizes <= _MAX_METRES)))


def _converted(
    records: np.ndarray, layout: PointLayout, options: CloudOptions, origin: tuple[float, float]
) -> np.ndarray:
    """Returns (N, 4) float32, or (N, 5) with an uninitialized time."""
    points = np.empty((*records.shape, 5 if options.time_field else 4), np.float32)
    # Values that overflow float32 become infinite here and are dropped as such.
    with np.errstate(over='ignore', invalid='ignore'):
        for column, field in enumerate(layout.fields[:4]):
            if field is None:
                points[..., column] = 0
            elif column < 2 and origin[column]:
                points[..., column] = records[field.name].astype(np.float64) - origin[column]
            else:
                points[..., column] = records[field.name]
        if options.intensity_scale != 1:
            points[..., 3] *= options.intensity_scale
    return points.reshape(-1, points.shape[-1])


def _with_intensity(
    points: np.ndarray, options: CloudOptions
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns the points, with intensity 0 where none of them has one, and a note of that."""
    if np.isfinite(points[:: -(-len(points) // _SAMPLE_SIZE), :4]).all(axis=1).any():
        return points, ()
    finite = np.isfinite(points[:, :4])
    located = _all_true(finite[:, :3])
    if not located.any() or finite[located, 3].any():
        return points, ()
    problem = 'intensity is NaN or infinite in all points; expected finite numbers'
    if options.missing_intensity == 'error':
        raise TinyBevError(problem)
    points = points.copy()
    points[:, 3] = 0
    return points, (f'{problem}, 0 is used',)


def _seconds(times: np.ndarray, points: np.ndarray, options: CloudOptions) -> np.ndarray:
    """Returns (N,) float64 seconds since the earliest point that is kept."""
    times = times.astype(np.float64)
    located = _all_true(np.isfinite(points[:, :4]))
    usable = located & np.isfinite(times)
    if located.any() and not usable.any():
        raise TinyBevError(
            f'{options.time_field} is NaN or infinite in all points; expected finite numbers'
        )
    with np.errstate(over='ignore', invalid='ignore'):
        earliest = times.min(where=usable, initial=math.inf)
        return (times - earliest) * options.time_scale


def _surplus_note(msg: Any, count: int, used: int) -> tuple[str, ...]:
    """Returns a note if the data are longer than the sizes state, or none."""
    if count <= used:
        return ()
    return (
        f'data has {count} bytes; expected {used} (height {msg.height}, width {msg.width}, '
        f'row_step {msg.row_step}), the rest is ignored',
    )


def encode_cloud(points: np.ndarray, stamp: Stamp, frame_id: str) -> PointCloud2:
    """Encodes a PointCloud2 with the float32 fields x, y, z, intensity and point step 16.

    Args:
        points: (N, 4) float32 x, y, z in metres and intensity.
        stamp: seconds and nanoseconds.
        frame_id: coordinate frame of the points.

    Raises:
        TinyBevError: points has another shape or type.
    """
    if points.ndim != 2 or points.shape[1] != 4 or points.dtype != np.float32:
        raise TinyBevError(f'points is {points.shape} {points.dtype}; expected (N, 4) float32')
    # A late import: decoding works where no message package is installed.
    from sensor_msgs.msg import PointField

    fields = [
        PointField(name=name, offset=4 * index, datatype=FLOAT32, count=1)
        for index, name in enumerate((*COORDINATES, 'intensity'))
    ]
    return create_cloud(make_header(stamp, frame_id), fields, points)


def _drop_non_finite(points: np.ndarray, notes: tuple[str, ...]) -> DecodedCloud:
    finite = np.isfinite(points)
    if finite.all():
        return DecodedCloud(points, 0, notes)
    kept = points[_all_true(finite)]
    return DecodedCloud(kept, len(points) - len(kept), notes)


def _all_true(flags: np.ndarray) -> np.ndarray:
    """Returns flags.all(axis=-1), several times as fast on so short an axis."""
    columns = [flags[..., column] for column in range(flags.shape[-1])]
    return functools.reduce(np.logical_and, columns)
