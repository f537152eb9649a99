# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import numpy as np
import torch

from tiny_bev_ros.class_colours import CLASS_COLOURS
from tiny_bev_ros.grid import Axis
from tiny_bev_ros.messages.bev_overlay import SCALE, draw_overlay
from tiny_bev_ros.models.heads.detection import Detections

# A grid of 20 m ahead and 6 m to either side, in cells of 0.5 m: 40 rows and 24 columns.
X, Y = Axis(0.0, 0.5), Axis(-6.0, 0.5)
BLACK = np.zeros((40, 24, 3), np.uint8)
RED = (np.array(CLASS_COLOURS['vehicle']) * 255).astype(np.uint8)


def metres(mask):
    """x and y of the pixels that are set."""
    row, col = np.nonzero(mask)
    size = 0.5 / SCALE
    return 20 - (row + 0.5) * size, 6 - (col + 0.5) * size


def test_nothing_is_only_larger():
    image = np.random.default_rng(0).integers(0, 255, (40, 24, 3), np.uint8)
    large = draw_overlay(image, Y, X)
    assert large.shape == (40 * SCALE, 24 * SCALE, 3)
    assert (large[::SCALE, ::SCALE] == image).all()


def test_points_lie_where_they_are():
    places = np.array([[3.2, -5.1], [19.9, 5.9], [25.0, 0.0], [5.0, 7.0], [-0.1, 0.0]])
    x, y = metres(draw_overlay(BLACK, Y, X, points=places)[..., 0] == 255)
    found = sorted(zip(x, y, strict=True))
    np.testing.assert_allclose(found, [(3.2, -5.1), (19.9, 5.9)], atol=0.13)


def test_road_cells_are_tinted():
    drivable = np.zeros((24, 40), np.float32)
    drivable[20, 10] = 0.9  # y from 4.0 to 4.5, x from 5.0 to 5.5
    large = draw_overlay(BLACK, Y, X, drivable=drivable)
    x, y = metres(large.any(axis=2))
    assert (x.min() > 5, x.max() < 5.5, y.min() > 4, y.max() < 4.5) == (True,) * 4
    assert len(x) == SCALE**2


def test_boxes_are_outlined_with_their_heading():
    box = torch.tensor([[10.0, 1.0, 0.0, 4.0, 2.0, 1.5, np.pi / 2]])
    found = Detections(box, torch.tensor([0.9]), torch.tensor([0]))
    x, y = metres((draw_overlay(BLACK, Y, X, detections=found) == RED).all(axis=2))
    np.testing.assert_allclose([x.min(), x.max()], [9, 11], atol=0.15)
    np.testing.assert_allclose([y.min(), y.max()], [-1, 3], atol=0.15)
    inside = (np.abs(x - 10) < 0.6) & (np.abs(y - 1) < 1.6)
    # Only the line to its front is inside.
    assert inside.any()
    assert (y[inside] > 0.8).all()
    assert (np.abs(x[inside] - 10) < 0.15).all()


def test_the_input_image_is_unchanged():
    image = BLACK.copy()
    draw_overlay(image, Y, X, points=np.array([[1.0, 1.0]]))
    assert not image.any()
