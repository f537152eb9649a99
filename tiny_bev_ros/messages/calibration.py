# SPDX-License-Identifier: Apache-2.0
"""The calibration of a camera as pairs in a label: K, and D of a plumb_bob lens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tiny_bev_ros.errors import TinyBevError

_NO_LENS = (0.0,) * 5


@dataclass(frozen=True)
class Calibration:
    """K and D of sensor_msgs/CameraInfo, for an image of one pixel per cell of a tensor.

    Attributes:
        k: 9 numbers, the intrinsics row by row, in such pixels.
        d: 5 numbers k1, k2, p1, p2, k3 of plumb_bob; zeros for none.

    Raises:
        TinyBevError: another count of numbers, or one that is not finite.
    """

    k: tuple[float, ...]
    d: tuple[float, ...] = _NO_LENS

    def __post_init__(self) -> None:
        for name, count in (('k', 9), ('d', 5)):
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) != count or not all(math.isfinite(value) for value in values):
                raise TinyBevError(f'{name} is {list(values)}; expected {count} finite numbers')
            object.__setattr__(self, name, values)

    def pairs(self) -> dict[str, str]:
        """Texts by key; d only where the lens bends."""
        written = {'k': _written(self.k)}
        return written | ({'d': _written(self.d)} if any(self.d) else {})


def _written(values: Sequence[float]) -> str:
    # repr is the shortest text that reads back as the same float.
    return ','.join(repr(value) for value in values)
