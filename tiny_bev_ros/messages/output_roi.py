# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Region of interest of published BEV features."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import Axis, BevGrid
from tiny_bev_ros.messages.tensor_labels import TensorLabels

# Largest overlap, in cells, with a cell that is cropped: 0.3 m are 3 cells of 0.1 m.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class OutputRoi:
    """A rectangle in the frame of BEV features.

    Attributes:
        x_range, y_range: lower and upper end in metres; infinite for no limit.

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

    def crop(self, tensor: Any, labels: TensorLabels) -> tuple[Any, TensorLabels]:
        """Crops a tensor to the cells that overlap the region.

        Args:
            tensor: (B,C,H,W), of NumPy or PyTorch.
            labels: labels of the tensor.

        Returns:
            A view of the tensor, and its labels.

        Raises:
            TinyBevError: the labels have no axes, or no cell overlaps the region.
        """
        if self == OutputRoi():
            return tensor, labels
        if labels.y_axis is None or labels.x_axis is None:
            raise TinyBevError(
                'tensor has no origin and step, which output_roi needs; expected them in the '
                'labels of height and width'
            )
        height, width = tensor.shape[2:]
        rows, y_axis = _crop_axis('y_range', self.y_range, labels.y_axis, height)
        cols, x_axis = _crop_axis('x_range', self.x_range, labels.x_axis, width)
        labels = dataclasses.replace(labels, y_axis=y_axis, x_axis=x_axis)
        return tensor[:, :, rows, cols], labels

    def check(self, grid: BevGrid) -> None:
        """Raises TinyBevError when no cell of the grid overlaps the region."""
        rows, cols = grid.shape
        _crop_axis('y_range', self.y_range, grid.y_axis, rows)
        _crop_axis('x_range', self.x_range, grid.x_axis, cols)


def _crop_axis(name: str, ends: tuple[float, float], axis: Axis, cells: int) -> tuple[slice, Axis]:
    low, high = ((end - axis.origin) / axis.step for end in ends)
    first = math.floor(max(low + _TOLERANCE, 0))
    last = math.ceil(min(high - _TOLERANCE, cells))
    if not 0 <= first < last:
        upper = axis.origin + cells * axis.step
        raise TinyBevError(
            f'output_roi.{name} is [{ends[0]:g}, {ends[1]:g}] m; '
            f'expected an overlap with the grid, which is [{axis.origin:g}, {upper:g}] m'
        )
    return slice(first, last), Axis(axis.origin + first * axis.step, axis.step)
