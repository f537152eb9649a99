# SPDX-License-Identifier: Apache-2.0
"""The calibration of a camera as pairs in a label: K, and D of the lens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tiny_bev_ros.errors import TinyBevError

# Numbers that each may have: D those of plumb_bob or of rational_polynomial.
COUNTS = {'k': (9,), 'd': (5, 8)}
_NO_LENS = (0.0,) * 5


@dataclass(frozen=True)
class Calibration:
    """K and D of sensor_msgs/CameraInfo, for an image of one pixel per cell of a tensor.

    Attributes:
        k: 9 numbers, the intrinsics row by row, in such pixels.
        d: 5 numbers k1, k2, p1, p2, k3 of plumb_bob, or 8 with k4, k5, k6 of
            rational_polynomial, which are left off where they are zeros; zeros for no lens.

    Raises:
        TinyBevError: another count of numbers, or one that is not finite.
    """

    k: tuple[float, ...]
    d: tuple[float, ...] = _NO_LENS

    def __post_init__(self) -> None:
        for name, counts in COUNTS.items():
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) not in counts or not all(math.isfinite(value) for value in values):
                wanted = ' or '.join(map(str, counts))
                raise TinyBevError(f'{name} is {list(values)}; expected {wanted} finite numbers')
            object.__setattr__(self, name, values)
        if not any(self.d[5:]):
            object.__setattr__(self, 'd', self.d[:5])

    def pairs(self) -> dict[str, str]:
        """Texts by key; d only where the lens bends."""
        written = {'k': _written(self.k)}
        return written | ({'d': _written(self.d)} if any(self.d) else {})


def _written(values: Sequence[float]) -> str:
    # repr is the shortest text that reads back as the same float.
    return ','.join(repr(value) for value in values)
