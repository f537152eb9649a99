# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import matplotlib
import numpy as np
import pytest

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.bev_image import render_bev_image

_VIRIDIS = matplotlib.colormaps['viridis'](np.arange(256), bytes=True)[:, :3]
DARK, BRIGHT = tuple(_VIRIDIS[0]), tuple(_VIRIDIS[255])
MAGENTA = (255, 0, 255)


def level(image: np.ndarray) -> np.ndarray:
    """(W, H) index of each pixel's colour in viridis; -1 for a colour it does not have."""
    same = (image[:, :, None, :] == _VIRIDIS).all(axis=-1)
    return np.where(same.any(axis=-1), same.argmax(axis=-1), -1)


def test_forward_is_up_and_left_is_left():
    # Rows run along y (left), columns along x (forward).
    features = np.zeros((1, 5, 7), np.float32)
    features[0, 4, 2] = 3  # far left, x index 2 of 0..6
    features[0, 0, 6] = 3  # far right, farthest ahead
    image = render_bev_image(features)
    assert image.shape == (7, 5, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert tuple(image[4, 0]) == BRIGHT
    assert tuple(image[0, 4]) == BRIGHT
    assert (level(image) > 0).sum() == 2


@pytest.mark.parametrize('dtype', [np.float32, np.float16])
def test_strength_is_the_root_mean_square(dtype):
    features = np.zeros((4, 1, 3), dtype)
    features[:, 0, 1] = [1, -1, 1, -1]  # signs do not cancel: strength 1
    features[0, 0, 2] = 4  # one channel alone: strength 2, where the mean would be 1
    levels = level(render_bev_image(features))[::-1, 0]
    assert levels[0] == 0
    assert levels[2] == 255
    assert abs(int(levels[1]) - 128) <= 2


def test_one_channel_keeps_its_sign():
    features = np.zeros((3, 1, 3), np.float32)
    features[1, 0] = [-1, 0, 1]
    features[2] = 100
    assert level(render_bev_image(features, channel=1))[::-1, 0].tolist() == [0, 127, 255]


def test_large_constant_background_leaves_structure_visible():
    rng = np.random.default_rng(0)
    features = np.full((8, 60, 60), 50, np.float32)
    structure = rng.random((20, 20), np.float32)
    features[:, 20:40, 20:40] += structure
    levels = level(render_bev_image(features))[::-1, ::-1].T
    assert (levels[:20] == 0).all()
    inside = levels[20:40, 20:40].ravel()
    assert len(np.unique(inside)) > 150
    assert np.corrcoef(inside, structure.ravel())[0, 1] > 0.99


def test_structure_smaller_than_the_percentiles_is_visible():
    features = np.full((8, 100, 100), 5, np.float32)
    features[:, 50, 10:20] = np.linspace(6, 7, 10)
    levels = level(render_bev_image(features))[::-1, ::-1].T
    assert (levels[50, 10:20] > 100).all()
    assert (np.diff(levels[50, 10:20]) > 0).all()
    assert np.count_nonzero(levels) == 10


def test_few_very_strong_cells_do_not_take_the_contrast():
    features = np.tile(np.linspace(0, 1, 100, dtype=np.float32), (1, 100, 1))
    features[0, 0, :5] = 1e6
    assert len(np.unique(level(render_bev_image(features)))) > 80


@pytest.mark.parametrize('value', [0.0, 7.25, -3.0])
def test_constant_map_is_dark(value):
    image = render_bev_image(np.full((2, 6, 4), value, np.float32), channel=0)
    assert {tuple(pixel) for pixel in image.reshape(-1, 3)} == {DARK}


def test_rounding_is_not_shown_as_structure():
    features = np.full((4, 30, 30), 3, np.float32)
    features[:, ::2] = np.nextafter(np.float32(3), np.float32(4))
    assert (level(render_bev_image(features)) == 0).all()


def test_cells_that_are_not_finite_are_magenta():
    features = np.zeros((2, 4, 4), np.float32)
    features[0, 0, 0] = np.nan
    features[1, 3, 3] = np.inf
    features[0, 1, 1] = 1
    image = render_bev_image(features)
    assert tuple(image[3, 3]) == MAGENTA
    assert tuple(image[0, 0]) == MAGENTA
    assert (level(image) == -1).sum() == 2
    assert tuple(image[2, 2]) == BRIGHT
    assert (render_bev_image(np.full((2, 3, 3), np.nan, np.float32)) == MAGENTA).all()


def test_input_is_not_changed():
    features = np.random.default_rng(1).random((3, 5, 5), np.float32)
    before = features.copy()
    features.flags.writeable = False
    render_bev_image(features)
    render_bev_image(features, channel=2)
    np.testing.assert_array_equal(features, before)


@pytest.mark.parametrize('channel', [3, -2, 1000])
def test_unknown_channel_is_refused(channel):
    with pytest.raises(TinyBevError, match=rf'channel is {channel}; expected 0 to 2, or -1'):
        render_bev_image(np.zeros((3, 2, 2), np.float32), channel=channel)


@pytest.mark.parametrize(
    'features',
    [
        np.zeros((2, 2), np.float32),
        np.zeros((1, 3, 2, 2), np.float32),
        np.zeros((0, 2, 2), np.float32),
        np.zeros((3, 0, 2), np.float32),
        np.zeros((3, 2, 2), np.float64),
        np.zeros((3, 2, 2), np.uint8),
    ],
)
def test_other_arrays_are_refused(features):
    with pytest.raises(TinyBevError, match='expected a non-empty'):
        render_bev_image(features)
