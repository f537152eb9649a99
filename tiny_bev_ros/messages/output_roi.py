# SPDX-License-Identifier: Apache-2.0
"""The part of a map that somebody needs."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import Axis, BevGrid
from tiny_bev_ros.messages.tensor_labels import TensorLabels

# How far, in cells, an end may reach into a cell that is left out (0.3 m are 3 cells of 0.1 m).
_TOUCH = 1e-6


@dataclass(frozen=True)
class Region:
    """A rectangle in the frame of a map.

    Attributes:
        x_range, y_range: lower and upper end in metres; infinite for as far as the map goes.

    Raises:
        TinyBevError: a range is inverted or not a number.
    """

    x_range: tuple[float, float] = (-math.inf, math.inf)
    y_range: tuple[float, float] = (-math.inf, math.inf)

    def __post_init__(self) -> None:
        for name in ('x_range', 'y_range'):
            ends = tuple(getattr(self, name))
            if len(ends) != 2 or not ends[0] < ends[1]:
                raise TinyBevError(f'{name} is {list(ends)} m; expected [min, max], min below max')
            object.__setattr__(self, name, ends)

    @property
    def is_all(self) -> bool:
        """Whether no map is cut."""
        return self == Region()

    def crop(self, tensor: Any, labels: TensorLabels) -> tuple[Any, TensorLabels]:
        """The cells that the region touches.

        Args:
            tensor: (B,C,H,W), of NumPy or PyTorch.
            labels: of it.

        Returns:
            A view of the tensor, and its labels.

        Raises:
            TinyBevError: the labels do not say where the map is, or it is outside of the region.
        """
        if self.is_all:
            return tensor, labels
        if labels.y_axis is None or labels.x_axis is None:
            raise TinyBevError(
                'the map has no origin and step, so the region cannot be cut out; expected them '
                'in the labels of height and width'
            )
        height, width = tensor.shape[2:]
        rows, y_axis = _cut('y_range', self.y_range, labels.y_axis, height)
        cols, x_axis = _cut('x_range', self.x_range, labels.x_axis, width)
        labels = dataclasses.replace(labels, y_axis=y_axis, x_axis=x_axis)
        return tensor[:, :, rows, cols], labels

    def check(self, grid: BevGrid) -> None:
        """Raises TinyBevError when a map on the grid has no part in the region."""
        rows, cols = grid.shape
        _cut('y_range', self.y_range, grid.y_axis, rows)
        _cut('x_range', self.x_range, grid.x_axis, cols)


def _cut(name: str, ends: tuple[float, float], axis: Axis, cells: int) -> tuple[slice, Axis]:
    low, high = ((end - axis.origin) / axis.step for end in ends)
    first = math.floor(max(low + _TOUCH, 0))
    last = math.ceil(min(high - _TOUCH, cells))
    if not 0 <= first < last:
        upper = axis.origin + cells * axis.step
        raise TinyBevError(
            f'output_roi.{name} is [{ends[0]:g}, {ends[1]:g}] m; '
            f'expected part of the map, which is [{axis.origin:g}, {upper:g}] m'
        )
    return slice(first, last), Axis(axis.origin + first * axis.step, axis.step)
