# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs/PointCloud2 to points and back."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.sensor_msgs_py_adapter import DATATYPES, cloud_dtype, create_cloud

# Names of the intensity field that 'auto' tries, in this order. Drivers that publish
# both intensity and reflectivity exist, so the order matters.
INTENSITY_NAMES = ('intensity', 'i', 'reflectivity')
_COORDINATES = ('x', 'y', 'z')
_COORDINATE_TYPES = (PointField.FLOAT32, PointField.FLOAT64)


@dataclass(frozen=True)
class CloudOptions:
    """What is read from a cloud beside its coordinates.

    Attributes:
        intensity_field: name of the field, or 'auto' for the first present of
            ``intensity``, ``i``, ``reflectivity``.
        intensity_scale: factor on the intensity, above 0; 1/255 brings 0..255 to 0..1.
        missing_intensity: what a cloud without that field gets: 'zero' (intensity 0) or
            'error' (the cloud is refused).
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
    """

    points: np.ndarray
    dropped: int


_DEFAULTS = CloudOptions()


def decode_cloud(
    msg: Any, options: CloudOptions = _DEFAULTS, *, max_bytes: int | None = None
) -> DecodedCloud:
    """The points of a PointCloud2, whatever its layout.

    Fields may come in any order, with any padding, unaligned and in both byte orders;
    coordinates are float32 or float64 (then rounded to float32), intensity and time of
    any type. Rows may be padded, and ``row_step`` 0 means that they are not. Points of
    an organised cloud come row by row. ``is_dense`` is not believed: a point with a NaN
    or infinite coordinate, intensity or time is left out and counted. Bytes behind the
    last point are not looked at. A cloud without points is a good one.

    Time is relative to the earliest point that is kept, always: absolute seconds do not
    fit float32, so the difference is taken in float64.

    Args:
        msg: a sensor_msgs/PointCloud2 of rclpy, or an object with the same attributes;
            ``data`` is anything with the buffer protocol.
        options: which fields to take, and how.
        max_bytes: how large the data, and the points as float32, may be; None for any size.

    Raises:
        TinyBevError: the fields, the steps and the data contradict each other, a field that is
            needed is absent, doubled or of a type that is not read, or the cloud is too large.
    """
    columns = 5 if options.time_field else 4
    height, width = int(msg.height), int(msg.width)
    if height * width == 0:
        return DecodedCloud(np.empty((0, columns), np.float32), 0)
    point_step = int(msg.point_step)
    _check_fields(msg.fields, point_step)
    wanted = _wanted_fields(msg.fields, options)
    data, row_step = _checked_data(msg, height, width, point_step)
    _check_size(height * width * columns * 4, data.nbytes, max_bytes)

    if _is_packed(wanted, width, point_step, row_step) and not (
        msg.is_bigendian or options.time_field or options.intensity_scale != 1
    ):
        packed = np.frombuffer(data, '<f4', count=4 * height * width).reshape(-1, 4)
        return _finite(np.require(packed, np.float32, ['ALIGNED']))

    names = [field.name if field else None for field in wanted]
    unique = {field.name: field for field in wanted if field}
    dtype = cloud_dtype(list(unique.values())).newbyteorder('>' if msg.is_bigendian else '<')
    records: np.ndarray = np.ndarray((height, width), dtype, data, strides=(row_step, point_step))
    points = np.empty((height, width, columns), np.float32)
    # What overflows float32 becomes infinite here and is dropped as such.
    with np.errstate(over='ignore', invalid='ignore'):
        for column, name in enumerate(names[:4]):
            points[..., column] = 0 if name is None else records[name]
        if options.intensity_scale != 1:
            points[..., 3] *= options.intensity_scale
        if options.time_field:
            times = records[options.time_field].astype(np.float64)
            usable = _all_true(np.isfinite(points[..., :4])) & np.isfinite(times)
            earliest = times.min(where=usable, initial=math.inf)
            points[..., 4] = (times - earliest) * options.time_scale
    return _finite(points.reshape(-1, columns))


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
        for index, name in enumerate((*_COORDINATES, 'intensity'))
    ]
    return create_cloud(header, fields, points)


def _check_fields(fields: Iterable[Any], point_step: int) -> None:
    if point_step == 0:
        raise TinyBevError('point_step is 0; expected the bytes of one point')
    for field in fields:
        if field.datatype not in DATATYPES:
            raise TinyBevError(
                f'field {field.name!r} has datatype {field.datatype}; expected 1 to 8'
            )
        if field.count == 0:
            raise TinyBevError(f'field {field.name!r} has count 0; expected at least 1')
        end = field.offset + field.count * DATATYPES[field.datatype].itemsize
        if end > point_step:
            raise TinyBevError(
                f'field {field.name!r} ends at byte {end}; '
                f'expected at most the point_step of {point_step}'
            )


def _wanted_fields(fields: Iterable[Any], options: CloudOptions) -> list[Any]:
    """The fields of x, y, z, intensity (None: fill with 0) and, if asked for, time."""
    by_name: dict[str, list[Any]] = {}
    for field in fields:
        by_name.setdefault(field.name, []).append(field)

    def single(name: str) -> Any:
        if name not in by_name:
            raise TinyBevError(f'fields are {list(by_name)}; expected one named {name!r}')
        if len(by_name[name]) > 1:
            raise TinyBevError(f'field {name!r} is there {len(by_name[name])} times; expected 1')
        field = by_name[name][0]
        if field.count != 1:
            raise TinyBevError(f'field {name!r} has count {field.count}; expected 1')
        return field

    wanted = [single(name) for name in _COORDINATES]
    for field in wanted:
        if field.datatype not in _COORDINATE_TYPES:
            raise TinyBevError(
                f'field {field.name!r} has datatype {field.datatype}; '
                'expected 7 (float32) or 8 (float64)'
            )

    auto = options.intensity_field == 'auto'
    candidates = INTENSITY_NAMES if auto else (options.intensity_field,)
    present = [name for name in candidates if name in by_name]
    if present:
        wanted.append(single(present[0]))
    elif options.missing_intensity == 'zero':
        wanted.append(None)
    else:
        raise TinyBevError(
            f'fields are {list(by_name)}; expected an intensity named {" or ".join(candidates)}'
        )
    if options.time_field:
        wanted.append(single(options.time_field))
    return wanted


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


def _finite(points: np.ndarray) -> DecodedCloud:
    finite = np.isfinite(points)
    if finite.all():
        return DecodedCloud(points, 0)
    kept = points[_all_true(finite)]
    return DecodedCloud(kept, len(points) - len(kept))


def _all_true(flags: np.ndarray) -> np.ndarray:
    """flags.all(axis=-1), several times as fast on so short an axis."""
    columns = [flags[..., column] for column in range(flags.shape[-1])]
    return functools.reduce(np.logical_and, columns)
