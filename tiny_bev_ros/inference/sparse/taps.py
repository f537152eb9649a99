# SPDX-License-Identifier: Apache-2.0
"""Which taps of a kernel are worth multiplying at a site.

At most sites of a dilated set some rows or columns of the kernel meet no active site: those on
the upper edge of an object, say, meet only its lowest row. So sites are grouped by the rectangle
of rows and columns around the taps that do, and each group is multiplied with its part of the
weights alone, which on LiDAR leaves out a quarter of the work. (Groups of the very same taps
would leave out a little more, in so many small products that nothing is gained.)
"""

from __future__ import annotations

import functools

import numpy as np

# A product of few rows costs as much as one of many: smaller groups are multiplied with all taps.
_SMALL = 64


def members(mask: int, kernel: int) -> list[int]:
    """Taps of a combination, numbered ky * kernel + kx."""
    return [tap for tap in range(kernel * kernel) if mask >> tap & 1]


@functools.cache
def rectangles(kernel: int) -> np.ndarray:
    """(2**taps,) int64: the rectangle of rows and columns around each combination of taps."""
    around = []
    for mask in range(2 ** (kernel * kernel)):
        rows = {tap // kernel for tap in members(mask, kernel)}
        cols = {tap % kernel for tap in members(mask, kernel)}
        around.append(sum(1 << row * kernel + col for row in rows for col in cols))
    return np.array(around, np.int64)


def choose_groups(counts: np.ndarray, kernel: int) -> np.ndarray:
    """With which combination of taps each combination is multiplied.

    Args:
        counts: (2**taps,) sites of each combination; becomes the sites of each group.
        kernel: 1 or 3.

    Returns:
        (2**taps,) int64, a combination that contains the one that is asked for.
    """
    group_of = rectangles(kernel)
    counts[:] = np.bincount(group_of, counts, len(counts))
    small = (counts > 0) & (counts < _SMALL)
    counts[-1] += counts[:-1][small[:-1]].sum()
    counts[:-1][small[:-1]] = 0
    return np.where(small[group_of], len(counts) - 1, group_of)
