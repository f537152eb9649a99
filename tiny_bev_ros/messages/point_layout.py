# SPDX-License-Identifier: Apache-2.0
"""Memory layout of a PointCloud2: fields, rows and byte order; unused fields may be anything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from sensor_msgs.msg import PointField

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.compat import DATATYPES
from tiny_bev_ros.messages.message_fields import byte_view

# Names of the intensity field that 'auto' tries, in this order. Drivers that publish
# both intensity and reflectivity exist, so the order matters.
INTENSITY_NAMES = ('intensity', 'i', 'reflectivity')
COORDINATES = ('x', 'y', 'z')
_COORDINATE_TYPES = (PointField.FLOAT32, PointField.FLOAT64)
# Bounds of coordinates in metres: less than a micrometre is noise, and ECEF ends below 1e7.
_MIN_METRES, _MAX_METRES = 1e-6, 1e8
# Sample of the points that are checked. About one in six numbers read in the wrong order is
# between these bounds by chance.
_SAMPLE_ROWS, _SAMPLE_SIZE = 8, 64


def select_fields(
    fields: Iterable[Any],
    point_step: int,
    *,
    intensity: str,
    needs_intensity: bool,
    time: str,
) -> list[Any]:
    """Returns the fields of x, y, z, intensity (None if absent) and, if asked for, time.

    Args:
        fields: fields of the message.
        point_step: bytes of one point.
        intensity: name of that field, or 'auto' for the first present of INTENSITY_NAMES.
        needs_intensity: reject a cloud without it.
        time: name of that field, or '' for none.

    Raises:
        TinyBevError: one of them is absent, repeated, beyond the point or of an unsupported
            type.
    """
    if point_step == 0:
        raise TinyBevError('point_step is 0; expected the bytes of one point')
    by_name: dict[str, list[Any]] = {}
    for field in fields:
        by_name.setdefault(field.name, []).append(field)
    selected = [_single(by_name, name, point_step) for name in COORDINATES]
    for field in selected:
        if field.datatype not in _COORDINATE_TYPES:
            raise TinyBevError(
                f'field {field.name!r} has datatype {field.datatype}; '
                'expected 7 (float32) or 8 (float64)'
            )
    candidates = INTENSITY_NAMES if intensity == 'auto' else (intensity,)
    present = [name for name in candidates if name in by_name]
    if present:
        selected.append(_single(by_name, present[0], point_step))
    elif needs_intensity:
        raise TinyBevError(
            f'fields are {list(by_name)}; expected an intensity named {" or ".join(candidates)}'
        )
    else:
        selected.append(None)
    if time:
        selected.append(_single(by_name, time, point_step))
    return selected


def _single(by_name: dict[str, list[Any]], name: str, point_step: int) -> Any:
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
    return (
        field
        if field.count
        else PointField(name=name, offset=field.offset, datatype=field.datatype, count=1)
    )


def checked_data(msg: Any, height: int, width: int, point_step: int) -> tuple[memoryview, int]:
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


def is_packed(fields: list[Any], width: int, point_step: int, row_step: int) -> bool:
    """Returns True if the data are float32 x, y, z, intensity and nothing else."""
    return (
        point_step == 16
        and row_step == width * point_step
        and all(
            field is not None and field.datatype == PointField.FLOAT32 and field.offset == 4 * k
            for k, field in enumerate(fields)
        )
    )


def is_declared_order(records: np.ndarray) -> bool:
    """Returns True if the coordinates are metres in the declared byte order, else False.

    Where the coordinates give no evidence, as all are 0 or NaN, the declaration holds.

    Args:
        records: (H, W) with the fields x, y and z, float32 or float64, as declared.

    Raises:
        TinyBevError: the coordinates are out of bounds in both orders.
    """
    height, width = records.shape
    rows = min(height, _SAMPLE_ROWS)
    sample = records[:: -(-height // rows), :: -(-width * rows // _SAMPLE_SIZE)]
    sizes = _magnitudes(sample, swapped=False)
    if 2 * _count_plausible(sizes) >= sizes.size:  # true of most clouds
        return True
    known = sizes
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
