# SPDX-License-Identifier: Apache-2.0
"""The byte order of a cloud, told from its coordinates: some drivers have `is_bigendian` wrong."""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.errors import TinyBevError

# Coordinates in metres: what is nearer than a micrometre is noise, and ECEF ends below 1e7.
_LEAST, _MOST = 1e-6, 1e8
# Points that are looked at, spread over the cloud. Of numbers read in the wrong order about one
# in six is between these bounds by chance.
_ROWS, _SAMPLE = 8, 64


def is_declared_order(records: np.ndarray) -> bool:
    """True where the coordinates are metres as they are declared, False for the other order.

    Where they tell nothing, as all are 0 or NaN, the declaration holds.

    Args:
        records: (H, W) with the fields x, y and z, float32 or float64, as declared.

    Raises:
        TinyBevError: they are beyond all bounds in both orders.
    """
    height, width = records.shape
    rows = min(height, _ROWS)
    sample = records[:: -(-height // rows), :: -(-width * rows // _SAMPLE)]
    sizes = _sizes(sample, swapped=False)
    if 2 * _plausible(sizes) >= sizes.size:  # of most clouds
        return True
    known = sizes
    for part in (sample, records):
        known = _known(_sizes(part, swapped=False))
        other = _known(_sizes(part, swapped=True))
        if known.size and 2 * _plausible(known) >= known.size:
            return True
        if other.size and 2 * _plausible(other) >= other.size:
            return False
        if known.size and other.size:
            break  # NaN is a number in the other order: all of the sample may have been NaN
    if 2 * np.count_nonzero(known > _MOST) > known.size:
        raise TinyBevError(
            f'coordinates are about {np.median(known):.3g} m and no better in the other byte '
            f'order; expected at most {_MOST:g} m'
        )
    return True


def _sizes(sample: np.ndarray, *, swapped: bool) -> np.ndarray:
    """(N,) float64 amounts of x, y and z, in the byte order of the records or the other one."""
    columns = [sample[name] for name in ('x', 'y', 'z')]
    if swapped:
        columns = [column.view(column.dtype.newbyteorder('S')) for column in columns]
    sizes = np.empty((3, *sample.shape))
    # A signalling NaN is no news.
    with np.errstate(invalid='ignore'):
        for axis, column in enumerate(columns):
            sizes[axis] = column
    return np.abs(sizes, out=sizes).reshape(-1)


def _known(sizes: np.ndarray) -> np.ndarray:
    """Those that tell anything: 0 is 0 in both orders."""
    return sizes[np.isfinite(sizes) & (sizes != 0)]


def _plausible(sizes: np.ndarray) -> int:
    return int(np.count_nonzero((sizes >= _LEAST) & (sizes <= _MOST)))
