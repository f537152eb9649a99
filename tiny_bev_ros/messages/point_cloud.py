# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs/PointCloud2 to points and back."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.byte_order import is_declared_order
from tiny_bev_ros.messages.point_fields import COORDINATES, wanted_fields
from tiny_bev_ros.messages.sensor_msgs_py_adapter import cloud_dtype, create_cloud

# So many points, spread over the cloud, mostly show that it has an intensity.
_FEW = 256


@dataclass(frozen=True)
class CloudOptions:
    """What is read from a cloud beside its coordinates.

    Attributes:
        intensity_field: name of the field, or 'auto' for the first present of
            ``intensity``, ``i``, ``reflectivity``.
        intensity_scale: factor on the intensity, above 0; 1/255 brings 0..255 to 0..1.
        missing_intensity: what a cloud without that field gets, or one in which no value of
            it is finite: 'zero' (intensity 0) or 'error' (the cloud is refused).
        time_field: name of the per-point time, or '' for none. A cloud without the named
            field is refused.
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
    """The usable points of one cloud.

    Attributes:
        points: (N, 4) float32 x, y, z in metres and intensity, or (N, 5) with time in
            seconds. May be a read-only view of the message's data.
        dropped: number of points left out because one of these values is NaN, infinite
            or too large for float32.
        doubts: what the message says of itself that was not believed, a line each.
    """

    points: np.ndarray
    dropped: int
    doubts: tuple[str, ...] = ()


_DEFAULTS = CloudOptions()


def decode_cloud(
    msg: Any,
    options: CloudOptions = _DEFAULTS,
    *,
    max_bytes: int | None = None,
    origin: tuple[float, float] = (0.0, 0.0),
) -> DecodedCloud:
    """The points of a PointCloud2, whatever its layout.

    Fields may come in any order, with any padding, unaligned and in both byte orders;
    coordinates are float32 or float64 (then rounded to float32), intensity and time of
    any type. Rows may be padded, and ``row_step`` 0 means that they are not. Points of
    an organised cloud come row by row. A cloud without points is a good one.

    Flags are not believed. Whatever ``is_dense`` says, a point with a NaN or infinite
    coordinate, intensity or time is left out and counted. Where coordinates are metres only
    in the byte order that ``is_bigendian`` denies, they are read in that one.

    Time is relative to the earliest point that is kept, always: absolute seconds do not
    fit float32, so the difference is taken in float64.

    Args:
        msg: a sensor_msgs/PointCloud2 of rclpy, or an object with the same attributes;
            ``data`` is anything with the buffer protocol.
        options: which fields to take, and how.
        max_bytes: how large the data, and the points as float32, may be; None for any size.
        origin: x and y in metres from which those of the points are counted; the difference is
            taken in float64.

    Raises:
        TinyBevError: the fields, the steps and the data contradict each other, a field that is
            needed is absent, doubled or of a type that is not read, coordinates are no metres
            in either byte order, or the cloud is too large.
    """
    columns = 5 if options.time_field else 4
    height, width = int(msg.height), int(msg.width)
    if height * width == 0:
        return DecodedCloud(np.empty((0, columns), np.float32), 0, _surplus(msg, len(msg.data), 0))
    point_step = int(msg.point_step)
    wanted = wanted_fields(
        msg.fields,
        point_step,
        intensity=options.intensity_field,
        needs_intensity=options.missing_intensity == 'error',
        time=options.time_field,
    )
    data, row_step = _checked_data(msg, height, width, point_step)
    _check_size(height * width * columns * 4, data.nbytes, max_bytes)
    doubts = _surplus(msg, data.nbytes, height * row_step)

    unique = {field.name: field for field in wanted if field}
    big = bool(msg.is_bigendian)
    dtype = cloud_dtype(list(unique.values())).newbyteorder('>' if big else '<')
    records: np.ndarray = np.ndarray((height, width), dtype, data, strides=(row_step, point_step))
    if not is_declared_order(records):
        big = not big
        records = records.view(dtype.newbyteorder('>' if big else '<'))
        doubts += (
            f'is_bigendian is {not big}, with coordinates that are metres only in the other byte '
            f'order; expected {big}, and read so',
        )

    as_it_is = not (big or options.time_field or options.intensity_scale != 1 or any(origin))
    if as_it_is and _is_packed(wanted, width, point_step, row_step):
        packed = np.frombuffer(data, '<f4', count=4 * height * width).reshape(-1, 4)
        points = np.require(packed, np.float32, ['ALIGNED'])
    else:
        points = _converted(records, wanted, options, origin)
    points, lost = _with_intensity(points, options)
    if options.time_field:
        points[:, 4] = _seconds(records[options.time_field].reshape(-1), points, options)
    return _finite(points, doubts + lost)


def _converted(
    records: np.ndarray, wanted: list[Any], options: CloudOptions, origin: tuple[float, float]
) -> np.ndarray:
    """(N, 4) float32, or (N, 5) with a time that is yet to be filled in."""
    points = np.empty((*records.shape, 5 if options.time_field else 4), np.float32)
    # What overflows float32 becomes infinite here and is dropped as such.
    with np.errstate(over='ignore', invalid='ignore'):
        for column, field in enumerate(wanted[:4]):
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
    """The points, with intensity 0 where none of them has one, and what is to be told of it."""
    if np.isfinite(points[:: -(-len(points) // _FEW), :4]).all(axis=1).any():
        return points, ()
    finite = np.isfinite(points[:, :4])
    placed = _all_true(finite[:, :3])
    if not placed.any() or finite[placed, 3].any():
        return points, ()
    said = 'intensity is NaN or infinite in all points; expected finite numbers'
    if options.missing_intensity == 'error':
        raise TinyBevError(said)
    points = points.copy()
    points[:, 3] = 0
    return points, (f'{said}, 0 is taken',)


def _seconds(times: np.ndarray, points: np.ndarray, options: CloudOptions) -> np.ndarray:
    """(N,) float64, from the earliest point on that is kept."""
    times = times.astype(np.float64)
    placed = _all_true(np.isfinite(points[:, :4]))
    usable = placed & np.isfinite(times)
    if placed.any() and not usable.any():
        raise TinyBevError(
            f'{options.time_field} is NaN or infinite in all points; expected finite numbers'
        )
    with np.errstate(over='ignore', invalid='ignore'):
        earliest = times.min(where=usable, initial=math.inf)
        return (times - earliest) * options.time_scale


def _surplus(msg: Any, count: int, used: int) -> tuple[str, ...]:
    """A line to be told where the data are more than the sizes say, or none."""
    if count <= used:
        return ()
    return (
        f'data has {count} bytes; expected {used} (height {msg.height}, width {msg.width}, '
        f'row_step {msg.row_step}), the rest is not read',
    )


def _check_size(points_bytes: int, data_bytes: int, max_bytes: int | None) -> None:
    size = max(points_bytes, data_bytes)
    if max_bytes is not None and size > max_bytes:
        raise TinyBevError(f'the cloud has {size} bytes; expected at most {max_bytes}')


def encode_cloud(points: np.ndarray, stamp: tuple[int, int], frame_id: str) -> PointCloud2:
    """A PointCloud2 with the float32 fields x, y, z, intensity and point step 16.

    Args:
        points: (N, 4) float32 x, y, z in metres and intensity.
        stamp: seconds and nanoseconds.
        frame_id: coordinate frame of the points.

    Raises:
        TinyBevError: points has another shape or type.
    """
    if points.ndim != 2 or points.shape[1] != 4 or points.dtype != np.float32:
        raise TinyBevError(f'points is {points.shape} {points.dtype}; expected (N, 4) float32')
    header = Header(stamp=Time(sec=stamp[0], nanosec=stamp[1]), frame_id=frame_id)
    fields = [
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate((*COORDINATES, 'intensity'))
    ]
    return create_cloud(header, fields, points)


def _checked_data(msg: Any, height: int, width: int, point_step: int) -> tuple[memoryview, int]:
    """The data as bytes, and the row step with 0 replaced by what it stands for."""
    packed_row = width * point_step
    row_step = int(msg.row_step) or packed_row
    if row_step < packed_row:
        raise TinyBevError(
            f'row_step is {row_step}; expected at least {packed_row} '
            f'(width {width} x point_step {point_step}), or 0'
        )
    try:
        data = memoryview(msg.data).cast('B')
    except TypeError:
        raise TinyBevError(
            f'data is a {type(msg.data).__name__}; expected contiguous bytes'
        ) from None
    needed = (height - 1) * row_step + packed_row
    if data.nbytes < needed:
        raise TinyBevError(
            f'data has {data.nbytes} bytes; expected at least {needed} (height {height}, '
            f'width {width}, row_step {row_step}, point_step {point_step})'
        )
    return data, row_step


def _is_packed(wanted: list[Any], width: int, point_step: int, row_step: int) -> bool:
    """Whether the data are float32 x, y, z, intensity and nothing else."""
    return (
        point_step == 16
        and row_step == width * point_step
        and all(
            field is not None and field.datatype == PointField.FLOAT32 and field.offset == 4 * k
            for k, field in enumerate(wanted)
        )
    )


def _finite(points: np.ndarray, doubts: tuple[str, ...]) -> DecodedCloud:
    finite = np.isfinite(points)
    if finite.all():
        return DecodedCloud(points, 0, doubts)
    kept = points[_all_true(finite)]
    return DecodedCloud(kept, len(points) - len(kept), doubts)


def _all_true(flags: np.ndarray) -> np.ndarray:
    """flags.all(axis=-1), several times as fast on so short an axis."""
    columns = [flags[..., column] for column in range(flags.shape[-1])]
    return functools.reduce(np.logical_and, columns)
