# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Metric grid: shapes, cells, strides and errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import MAX_CELLS, Axis, BevGrid

KITTI = BevGrid((0.0, 69.12), (-39.68, 39.68), (-3.0, 1.0), 0.16)


def grid(**changes):
    values = {'x_range': (0, 10), 'y_range': (-5, 5), 'z_range': (-3, 1), 'resolution': 0.5}
    return BevGrid(**{**values, **changes})


def test_shape_has_rows_along_y_and_columns_along_x():
    assert KITTI.shape == (496, 432)
    assert grid(y_range=(-1, 2)).shape == (6, 20)


def test_cells_that_are_no_binary_fraction_still_fit():
    assert grid(x_range=(0, 0.3), y_range=(0, 0.9), resolution=0.1).shape == (9, 3)
    assert grid(x_range=(-0.2, 0.2), y_range=(0, 0.4), resolution=0.1333333).shape[1] == 3


def test_axes_start_at_the_lower_edges():
    assert KITTI.x_axis == Axis(0.0, 0.16)
    assert KITTI.y_axis == Axis(-39.68, 0.16)


@pytest.mark.parametrize('make', [float, np.float32, torch.tensor])
def test_axis_index_and_centre(make):
    axis = Axis(-2.0, 0.5)
    assert axis.index(make(-2.0)) == 0
    assert axis.index(make(-1.51)) == 0
    assert axis.index(make(-1.5)) == 1
    assert axis.index(make(-2.01)) == -1
    assert axis.centre(make(3.0)) == -0.25


def test_axis_works_on_whole_arrays():
    axis = Axis(10.0, 2.0)
    index = np.arange(5)
    np.testing.assert_array_equal(axis.index(axis.centre(index)), index)
    tensor = torch.arange(5)
    assert torch.equal(axis.index(axis.centre(tensor)).long(), tensor)


def test_strided_grid_keeps_the_lower_edges():
    half = KITTI.strided(2)
    assert half.shape == (248, 216)
    assert half.resolution == pytest.approx(0.32)
    assert (half.x_range[0], half.y_range[0]) == (0.0, -39.68)
    assert half.x_axis.origin == KITTI.x_axis.strided(2).origin
    assert half.x_axis.step == KITTI.x_axis.strided(2).step


def test_strided_grid_counts_an_odd_last_cell_in_full():
    odd = BevGrid((0, 2.5), (0, 1.5), (0, 1), 0.5)
    assert odd.shape == (3, 5)
    assert odd.strided(2).shape == (2, 3)
    assert odd.strided(2).x_range == (0, 3)


def test_values_become_floats():
    made = BevGrid([0, 4], np.array([-2, 2]), (0, 1), 1)
    assert made == BevGrid((0.0, 4.0), (-2.0, 2.0), (0.0, 1.0), 1.0)
    assert hash(made) == hash(BevGrid((0.0, 4.0), (-2.0, 2.0), (0.0, 1.0), 1.0))


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'resolution': 0}, ['resolution is 0 m', 'above 0']),
        ({'resolution': -0.5}, ['resolution is -0.5 m']),
        ({'resolution': float('nan')}, ['resolution is nan m']),
        ({'resolution': 0.3}, ['x_range is [0, 10] m', '33.3333 cells of 0.3 m', 'whole number']),
        ({'y_range': (0, 0.7)}, ['y_range is [0, 0.7] m', 'whole number']),
        ({'x_range': (10, 0)}, ['x_range is [10, 0] m', 'min below max']),
        ({'x_range': (1, 1)}, ['x_range is [1, 1] m', 'min below max']),
        ({'z_range': (1, -3)}, ['z_range is [1, -3] m', 'min below max']),
        ({'y_range': (-float('inf'), 0)}, ['y_range is [-inf, 0] m', 'finite']),
        ({'z_range': (0, float('nan'))}, ['z_range is [0, nan] m', 'finite']),
        ({'x_range': (1, 2, 3)}, ['x_range is (1, 2, 3)', 'two numbers']),
        ({'x_range': 5}, ['x_range is 5', 'two numbers']),
        ({'x_range': ('a', 'b')}, ["x_range is ('a', 'b')", 'two numbers']),
        (
            {'y_range': (4600000, 4600010)},
            [
                'y_range is [4.6e+06, 4.60001e+06] m',
                'steps of 0.5 m',
                'at most 0.0078 m for cells',
            ],
        ),
        ({'x_range': (499990, 500000)}, ['x_range is [499990, 500000] m', 'steps of 0.031 m']),
        ({'z_range': (1e7, 1e7 + 4)}, ['z_range is [1e+07, 1e+07] m', 'steps of 1 m']),
        ({'resolution': 0.001}, ['resolution is 0.001 m', '10000 x 10000', str(MAX_CELLS)]),
    ],
)
def test_wrong_grids_are_refused(changes, words):
    with pytest.raises(TinyBevError) as error:
        grid(**changes)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('origin', 'step'), [(0, 0), (0, -1), (float('nan'), 1), (0, float('inf'))]
)
def test_wrong_axes_are_refused(origin, step):
    with pytest.raises(TinyBevError, match=r'axis (origin|step) is'):
        Axis(origin, step)


def test_networks_see_a_grid_near_the_sensor_as_it_is():
    for each in (KITTI, grid(x_range=(900, 910)), grid(x_range=(-1e4, 1e4), resolution=50.0,
                                                       y_range=(-1e4, 1e4))):  # fmt: skip
        assert each.reference == (0, 0)
        assert each.local == each


def test_networks_see_a_grid_in_the_frame_of_a_map_from_its_middle():
    far = grid(x_range=(10000.25, 10010.25), y_range=(-20005, -19995))
    assert far.reference == (10005.25, -20000)
    assert far.local == grid(x_range=(-5, 5), y_range=(-5, 5))
    assert far.strided(2).local.shape == far.strided(2).shape
