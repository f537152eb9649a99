# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import Axis
from tiny_bev_ros.messages.grid_labels import grid_of
from tiny_bev_ros.messages.tensor_labels import TensorLabels


def test_grid_of_labels():
    labels = TensorLabels(y_axis=Axis(-3.0, 0.5), x_axis=Axis(1.0, 0.5))
    grid = grid_of(labels, (12, 8))
    assert (grid.x_range, grid.y_range, grid.resolution) == ((1.0, 5.0), (-3.0, 3.0), 0.5)
    with pytest.raises(TinyBevError, match='square'):
        grid_of(TensorLabels(y_axis=Axis(0, 1), x_axis=Axis(0, 2)), (1, 1))
