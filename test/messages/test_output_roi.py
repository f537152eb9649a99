# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import Axis, BevGrid
from tiny_bev_ros.messages.output_roi import OutputRoi
from tiny_bev_ros.messages.tensor_labels import TensorLabels

# 8 m to the left and right in 4 rows of 4 m, 10 m ahead in 5 columns of 2 m.
LABELS = TensorLabels((1, 2), 'lidar', Axis(-8.0, 4.0), Axis(0.0, 2.0))
FEATURES = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)


@pytest.mark.parametrize(
    ('roi', 'rows', 'cols'),
    [
        (OutputRoi((2.0, 6.0), (-4.0, 0.0)), slice(1, 2), slice(1, 3)),
        (OutputRoi((2.1, 5.9), (-3.9, 0.1)), slice(1, 3), slice(1, 3)),
        (OutputRoi((-100.0, 1.0), (7.9, 100.0)), slice(3, 4), slice(0, 1)),
        (OutputRoi(x_range=(4.0, math.inf)), slice(0, 4), slice(2, 5)),
        (OutputRoi(y_range=(-math.inf, -8.0 + 4e-7)), None, None),
        (OutputRoi((-1.0, 11.0), (-9.0, 9.0)), slice(0, 4), slice(0, 5)),
    ],
)
def test_the_overlapping_cells_remain(roi: OutputRoi, rows: slice | None, cols: slice | None):
    if rows is None:
        with pytest.raises(TinyBevError):
            roi.crop(FEATURES, LABELS)
        return
    cropped, labels = roi.crop(FEATURES, LABELS)
    np.testing.assert_array_equal(cropped, FEATURES[:, :, rows, cols])
    assert np.shares_memory(cropped, FEATURES)
    assert labels == TensorLabels(
        (1, 2), 'lidar', Axis(-8.0 + 4 * rows.start, 4.0), Axis(2.0 * cols.start, 2.0)
    )
    from_torch, _ = roi.crop(torch.from_numpy(FEATURES), LABELS)
    np.testing.assert_array_equal(from_torch.numpy(), cropped)


def test_ends_that_are_no_exact_floats_add_no_cell():
    labels = TensorLabels(y_axis=Axis(-39.68, 0.32), x_axis=Axis(0.0, 0.1))
    image = np.zeros((1, 1, 248, 100), np.float32)
    cropped, cut = OutputRoi((0.3, 0.7), (-39.68 + 3 * 0.32, -39.68 + 7 * 0.32)).crop(
        image, labels
    )
    assert cropped.shape == (1, 1, 4, 4)
    assert cut.x_axis.origin == pytest.approx(0.3)


def test_the_default_needs_no_axes():
    cropped, labels = OutputRoi().crop(FEATURES, TensorLabels())
    assert cropped is FEATURES
    assert labels == TensorLabels()


def test_a_tensor_without_axes_cannot_be_cropped():
    with pytest.raises(TinyBevError, match='no origin and step'):
        OutputRoi((0.0, 1.0)).crop(FEATURES, TensorLabels(y_axis=Axis(0.0, 1.0)))


@pytest.mark.parametrize('ends', [(10.0, 12.0), (-5.0, 0.0), (-9.0, -3.0)])
def test_a_region_beside_the_grid_is_an_error(ends: tuple[float, float]):
    with pytest.raises(TinyBevError, match=r'output_roi\.x_range .* grid, which is \[0, 10\] m'):
        OutputRoi(x_range=ends).crop(FEATURES, LABELS)


@pytest.mark.parametrize('ends', [(1.0, 1.0), (2.0, 1.0), (math.nan, 1.0), (1.0,), ()])
def test_invalid_ranges(ends: tuple[float, ...]):
    with pytest.raises(TinyBevError, match=r'y_range is \[.*\] m; expected \[min, max\]'):
        OutputRoi(y_range=ends)


def test_a_grid_is_checked_beforehand():
    grid = BevGrid((0, 10), (-8, 8), (-1, 1), 2)
    OutputRoi((9.0, 20.0), (-20.0, -7.0)).check(grid)
    with pytest.raises(TinyBevError, match=r'roi\.y_range is \[8, 9\] m; expected an overlap'):
        OutputRoi(y_range=(8.0, 9.0)).check(grid)
