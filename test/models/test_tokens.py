# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Tokens and their positions."""

from __future__ import annotations

import math

import pytest
import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models import from_tokens, position_encoding, to_tokens

GRID = BevGrid((0.0, 9.0), (-3.0, 3.0), (-3.0, 1.0), 0.5)


def test_tokens_run_row_by_row():
    bev = torch.arange(2 * 3 * 4 * 5).view(2, 3, 4, 5)
    tokens = to_tokens(bev)
    assert tokens.shape == (2, 20, 3)
    assert torch.equal(tokens[1, 2 * 5 + 3], bev[1, :, 2, 3])


def test_tokens_come_back_as_the_same_map():
    bev = torch.randn(2, 3, 4, 5)
    assert torch.equal(from_tokens(to_tokens(bev), (4, 5)), bev)


def test_tokens_of_another_map_are_refused():
    with pytest.raises(TinyBevError, match='tokens are 20; expected 24 for a map of 4 x 6'):
        from_tokens(torch.zeros(1, 20, 3), (4, 6))


def test_position_encoding_fits_tokens():
    encoding = position_encoding(GRID, 16)
    assert encoding.shape == (1, 12 * 18, 16)
    assert encoding.dtype == torch.float32
    assert encoding.abs().max() <= 1


def test_position_encoding_is_sine_and_cosine_of_metres():
    encoding = from_tokens(position_encoding(GRID, 12, wavelengths=(2.0, 8.0)), GRID.shape)
    y, x = -3.0 + 4.5 * 0.5, 7.5 * 0.5
    expected = [
        wave(2 * math.pi * metres / length)
        for metres in (y, x)
        for length in (2.0, 4.0, 8.0)
        for wave in (math.sin, math.cos)
    ]
    torch.testing.assert_close(encoding[0, :, 4, 7], torch.tensor(expected))


def test_maps_of_different_resolution_agree_on_a_place():
    fine, coarse = GRID, BevGrid(GRID.x_range, GRID.y_range, GRID.z_range, 1.5)
    at_fine = from_tokens(position_encoding(fine, 64), fine.shape)
    at_coarse = from_tokens(position_encoding(coarse, 64), coarse.shape)
    # Fine cells 1, 4, 7, ... have the centre of a coarse one.
    torch.testing.assert_close(at_fine[:, :, 1::3, 1::3], at_coarse, rtol=0, atol=1e-5)


def test_maps_of_different_extent_agree_on_a_place():
    wide = BevGrid((-50.0, 50.0), (-50.0, 50.0), (-3.0, 1.0), 0.5)
    at_wide = from_tokens(position_encoding(wide, 64), wide.shape)
    at_grid = from_tokens(position_encoding(GRID, 64), GRID.shape)
    rows, cols = GRID.shape
    part = at_wide[:, :, 94 : 94 + rows, 100 : 100 + cols]
    torch.testing.assert_close(part, at_grid, rtol=0, atol=1e-5)


def test_every_cell_of_a_large_map_has_its_own_encoding():
    large = BevGrid((-150.0, 150.0), (-150.0, 150.0), (-3.0, 1.0), 3.0)
    encoding = position_encoding(large, 64)[0]
    distance = torch.cdist(encoding, encoding).fill_diagonal_(torch.inf)
    assert distance.min() > 0.1


@pytest.mark.parametrize('channels', [0, -4, 2, 6, 65])
def test_channels_that_do_not_divide_are_refused(channels):
    with pytest.raises(TinyBevError, match=f'channels is {channels}; expected a positive multip'):
        position_encoding(GRID, channels)


@pytest.mark.parametrize('wavelengths', [(0, 1), (4, 4), (4, 2), (-1, 2), (1, math.inf)])
def test_wrong_wavelengths_are_refused(wavelengths):
    with pytest.raises(TinyBevError, match='wavelengths are'):
        position_encoding(GRID, 8, wavelengths)


def test_maps_and_tokens_of_another_number_of_dimensions_are_refused():
    with pytest.raises(TinyBevError, match=r'map has shape \(3, 4, 5\); expected'):
        to_tokens(torch.zeros(3, 4, 5))
    with pytest.raises(TinyBevError, match=r'tokens have shape \(20, 3\); expected'):
        from_tokens(torch.zeros(20, 3), (4, 5))
