# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs/PointCloud2 to points and back."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.compat import cloud_dtype, create_cloud
from tiny_bev_ros.messages.message_fields import Stamp, check_max_bytes, make_header
from tiny_bev_ros.messages.point_layout import (
    COORDINATES,
    checked_data,
    is_declared_order,
    is_packed,
    select_fields,
)

# Number of points, spread over the cloud, that mostly prove that it has an intensity.
_SAMPLE_SIZE = 256


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
    height, width = int(msg.height), int(msg.width)
    if height * width == 0:
        empty = np.empty((0, columns), np.float32)
        return DecodedCloud(empty, 0, _surplus_note(msg, len(msg.data), 0))
    point_step = int(msg.point_step)
    fields = select_fields(
        msg.fields,
        point_step,
        intensity=options.intensity_field,
        needs_intensity=options.missing_intensity == 'error',
        time=options.time_field,
    )
    data, row_step = checked_data(msg, height, width, point_step)
    check_max_bytes('the cloud', max(height * width * columns * 4, data.nbytes), max_bytes)
    notes = _surplus_note(msg, data.nbytes, height * row_step)

    unique = {field.name: field for field in fields if field}
    big = bool(msg.is_bigendian)
    dtype = cloud_dtype(list(unique.values())).newbyteorder('>' if big else '<')
    records: np.ndarray = np.ndarray((height, width), dtype, data, strides=(row_step, point_step))
    if not is_declared_order(records):
        big = not big
        records = records.view(dtype.newbyteorder('>' if big else '<'))
        notes += (
            f'is_bigendian is {not big}, but coordinates are metres in the other byte order '
            f'only; expected {big}, and read so',
        )

    unchanged = not (big or options.time_field or options.intensity_scale != 1 or any(origin))
    if unchanged and is_packed(fields, width, point_step, row_step):
        packed = np.frombuffer(data, '<f4', count=4 * height * width).reshape(-1, 4)
        points = np.require(packed, np.float32, ['ALIGNED'])
    else:
        points = _converted(records, fields, options, origin)
    points, missing = _with_intensity(points, options)
    if options.time_field:
        points[:, 4] = _seconds(records[options.time_field].reshape(-1), points, options)
    return _drop_non_finite(points, notes + missing)


def _converted(
    records: np.ndarray, fields: list[Any], options: CloudOptions, origin: tuple[float, float]
) -> np.ndarray:
    """Returns (N, 4) float32, or (N, 5) with an uninitialized time."""
    points = np.empty((*records.shape, 5 if options.time_field else 4), np.float32)
    # Values that overflow float32 become infinite here and are dropped as such.
    with np.errstate(over='ignore', invalid='ignore'):
        for column, field in enumerate(fields[:4]):
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
    fields = [
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
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
