# SPDX-License-Identifier: Apache-2.0
"""The grid of a map from its labels."""

from __future__ import annotations

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.messages.tensor_labels import TensorLabels


def grid_of(labels: TensorLabels, shape: tuple[int, int]) -> BevGrid:
    """The grid of a map (H,W); heights are of no concern.

    Raises:
        TinyBevError: the labels name no axes, or cells that are not square.
    """
    x_axis, y_axis = labels.x_axis, labels.y_axis
    if x_axis is None or y_axis is None or x_axis.step != y_axis.step:
        raise TinyBevError(
            f'axes are {x_axis} and {y_axis}; expected both, with cells that are square'
        )
    rows, cols = shape
    return BevGrid(
        (x_axis.origin, x_axis.origin + cols * x_axis.step),
        (y_axis.origin, y_axis.origin + rows * y_axis.step),
        (-1.0, 1.0),
        x_axis.step,
    )
