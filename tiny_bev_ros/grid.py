# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Metric grid of a bird's-eye-view map.

Axes follow REP-103: x forward, y left, z up, in metres. A map is stored as the
PointPillars canvas: rows run along y, columns along x, so that ``map[row, col]`` lies at
``y = y_min + (row + 0.5) * resolution`` and ``x = x_min + (col + 0.5) * resolution``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tiny_bev_ros.errors import TinyBevError

# Largest number of cells: a canvas of 64 channels in float32 then takes 4 GiB.
MAX_CELLS = 2**24
# Tolerance, in cells, of ranges that are a whole number of cells (0.1333 is a third).
_CELL_TOLERANCE = 1e-3
# Least number of float32 steps within a cell, as positions are computed in float32.
_MIN_STEPS = 64
# Range of any LiDAR, in metres.
_MAX_LIDAR_RANGE = 1000.0


@dataclass(frozen=True)
class Axis:
    """One metric axis of a map.

    Attributes:
        origin: lower edge of cell 0, in metres.
        step: size of one cell, in metres; positive.
    """

    origin: float
    step: float

    def __post_init__(self) -> None:
        for name in ('origin', 'step'):
            value = float(getattr(self, name))
            if not math.isfinite(value):
                raise TinyBevError(f'axis {name} is {value}; expected a finite number of metres')
            object.__setattr__(self, name, value)
        if self.step <= 0:
            raise TinyBevError(f'axis step is {self.step:g} m; expected more than 0')

    def index(self, metres: Any) -> Any:
        """Returns the cell index (an integral float) of a position; out of range when outside.

        Takes and returns a float, a NumPy array or a torch tensor.
        """
        cells = (metres - self.origin) / self.step
        return cells.floor() if hasattr(cells, 'floor') else np.floor(cells)

    def centre(self, index: Any) -> Any:
        """Returns a cell's centre in metres; takes a number, a NumPy array or a torch tensor."""
        return (index + 0.5) * self.step + self.origin

    def strided(self, stride: int) -> Axis:
        """Returns the axis of a map that a network has made ``stride`` times coarser.

        The lower edge stays and the cells grow. (A stride-2 convolution with padding 1
        centres output i on input cell 2i, half an input cell below the centre by this
        axis; this is the convention of OpenPCDet and mmdetection3d, and their weights.)
        """
        return Axis(self.origin, self.step * stride)


@dataclass(frozen=True)
class BevGrid:
    """Box of space that a bird's-eye-view map covers, and the size of its cells.

    Attributes:
        x_range: lower and upper end forward, in metres; a point on the upper end is outside.
        y_range: lower and upper end leftward, in metres; a point on the upper end is outside.
        z_range: lower and upper end upward, in metres.
        resolution: side of a square cell in metres. The x and y ranges must be a whole
            number of cells.

    Raises:
        TinyBevError: a range is inverted, not finite, no whole number of cells or so far
            from 0 that float32 cannot distinguish positions within a cell, or the resolution is
            not positive.
    """

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    z_range: tuple[float, float]
    resolution: float

    def __post_init__(self) -> None:
        cell = float(self.resolution)
        if not math.isfinite(cell) or cell <= 0:
            raise TinyBevError(f'resolution is {cell:g} m; expected a finite number above 0')
        object.__setattr__(self, 'resolution', cell)
        for name in ('x_range', 'y_range', 'z_range'):
            low, high = _checked_range(name, getattr(self, name))
            object.__setattr__(self, name, (low, high))
            _check_steps(name, low, high, high - low if name == 'z_range' else cell)
            cells = (high - low) / cell
            if name != 'z_range' and (
                abs(cells - round(cells)) > _CELL_TOLERANCE or round(cells) < 1
            ):
                raise TinyBevError(
                    f'{name} is [{low:g}, {high:g}] m, {cells:.6g} cells of {cell:g} m; '
                    'expected a whole number of cells'
                )
        rows, cols = self.shape
        if rows * cols > MAX_CELLS:
            raise TinyBevError(
                f'resolution is {cell:g} m, which makes {rows} x {cols} cells; '
                f'expected at most {MAX_CELLS} in all'
            )

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Shape (H, W): rows along y, columns along x."""
        (x_low, x_high), (y_low, y_high) = self.x_range, self.y_range
        return round((y_high - y_low) / self.resolution), round((x_high - x_low) / self.resolution)

    @cached_property
    def x_axis(self) -> Axis:
        """The axis of the columns."""
        return Axis(self.x_range[0], self.resolution)

    @cached_property
    def y_axis(self) -> Axis:
        """The axis of the rows."""
        return Axis(self.y_range[0], self.resolution)

    @cached_property
    def reference(self) -> tuple[float, float]:
        """Position (x, y) in metres that is subtracted from points before they enter a network.

        It is (0, 0), the sensor, for a grid within the range of a LiDAR. A grid farther away is in
        the frame of a map, with the sensor somewhere on the grid: its reference is its centre.
        """
        near = [max(low, -high, 0.0) for low, high in (self.x_range, self.y_range)]
        if math.hypot(*near) <= _MAX_LIDAR_RANGE:
            return 0.0, 0.0
        (x_low, x_high), (y_low, y_high) = self.x_range, self.y_range
        return (x_low + x_high) / 2, (y_low + y_high) / 2

    @property
    def local(self) -> BevGrid:
        """The grid in a frame whose origin is the reference."""
        (x, y), (x_low, x_high), (y_low, y_high) = self.reference, self.x_range, self.y_range
        return BevGrid(
            (x_low - x, x_high - x), (y_low - y, y_high - y), self.z_range, self.resolution
        )

    def strided(self, stride: int) -> BevGrid:
        """Returns the grid of a map ``stride`` times coarser; an odd last cell counts in full."""
        rows, cols = (-(-size // stride) for size in self.shape)
        cell = self.resolution * stride
        x_low, y_low = self.x_range[0], self.y_range[0]
        return BevGrid(
            (x_low, x_low + cols * cell), (y_low, y_low + rows * cell), self.z_range, cell
        )


def _check_steps(name: str, low: float, high: float, cell: float) -> None:
    step = float(np.spacing(np.float32(max(abs(low), abs(high)))))
    if not step * _MIN_STEPS <= cell:
        raise TinyBevError(
            f'{name} is [{low:g}, {high:g}] m, where float32 has steps of {step:.2g} m; expected '
            f'steps of at most {cell / _MIN_STEPS:.2g} m for cells of {cell:g} m: take a '
            'frame with a nearer origin'
        )


def _checked_range(name: str, value: Any) -> tuple[float, float]:
    try:
        low, high = (float(end) for end in value)
    except (TypeError, ValueError):
        raise TinyBevError(f'{name} is {value!r}; expected two numbers, [min, max]') from None
    if not (math.isfinite(low) and math.isfinite(high)):
        raise TinyBevError(f'{name} is [{low:g}, {high:g}] m; expected finite numbers')
    if low >= high:
        raise TinyBevError(f'{name} is [{low:g}, {high:g}] m; expected min below max')
    return low, high
