# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest
import torch

from tiny_bev_ros.demo.fusion_figure import AttendedPixels, attended_pixels, draw, likeliest_cell
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models import FuTrFusion, make_camera, seeded
from tiny_bev_ros.models.heads.detection import Detections

GRID = BevGrid((0, 16), (-8, 8), (-3, 1), 0.5)
AHEAD = [[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
IMAGE = make_camera([100, 0, 99.5, 0, 100, 29.5, 0, 0, 1], AHEAD, (200, 60))
# Pose of a camera that faces backwards: its x, right, is y, left; its z, ahead, is -x.
AWAY = [[0, 1, 0, 0], [0, 0, -1, 0], [-1, 0, 0, 0], [0, 0, 0, 1]]
# Cell some metres ahead, whose second and third height are visible in the image.
CELL = (16, 12)


def parts():
    with seeded(0):
        fusion = FuTrFusion(32, 16).eval()
        return fusion, torch.randn(1, 32, *GRID.shape), torch.randn(1, 16, 15, 50)


def test_a_cell_attends_to_its_projection():
    fusion, bev, features = parts()
    attended = attended_pixels(fusion, bev, GRID, features, IMAGE.scaled((50, 15)), IMAGE, CELL)
    x, y = GRID.x_axis.centre(CELL[1]), GRID.y_axis.centre(CELL[0])
    expected = [[99.5 - 100 * y / x, 29.5 - 100 * z / x] for z in (-1.5, -0.5, 0.5, 1.5)]
    np.testing.assert_allclose(attended.pixels, expected, atol=1e-6)
    assert attended.weights.sum() == pytest.approx(1, abs=1e-5)


def test_without_visible_cells_nothing_is_attended_to():
    fusion, bev, features = parts()
    away = replace(IMAGE, extrinsics=torch.tensor(AWAY, dtype=torch.float64))
    attended = attended_pixels(fusion, bev, GRID, features, away.scaled((50, 15)), away, CELL)
    assert attended.pixels.shape == (0, 2)
    assert attended.weights.shape == (0,)


def test_weights_are_those_of_the_attention():
    fusion, bev, features = parts()
    before = attended_pixels(fusion, bev, GRID, features, IMAGE.scaled((50, 15)), IMAGE, CELL)
    with torch.no_grad():
        fusion.attention.height_embedding[2] += 10 * fusion.attention.queries(
            fusion.norm(bev[0, :, CELL[0], CELL[1]])
        )
    after = attended_pixels(fusion, bev, GRID, features, IMAGE.scaled((50, 15)), IMAGE, CELL)
    assert after.weights[2] > 0.9 > before.weights[2]


def test_the_shown_cell_is_visible_as_a_whole():
    fusion, *_ = parts()
    heatmap = np.full(GRID.shape, -9.0)
    heatmap[CELL], heatmap[0, 0] = -2, -1  # the second cell is outside of the image
    assert likeliest_cell(fusion, GRID, IMAGE.scaled((50, 15)), heatmap) == CELL


def objects(boxes=()):
    boxes = torch.tensor(boxes, dtype=torch.float32).view(-1, 7)
    return Detections(boxes, torch.ones(len(boxes)), torch.arange(len(boxes)))


def test_everything_is_drawn_at_its_position(tmp_path):
    maps = np.zeros((2, 4, *GRID.shape), np.float32)
    image = np.zeros((60, 200, 3), np.uint8)

    def drawn(points, pixels, found=()):
        attended = AttendedPixels(
            CELL, np.array(pixels, float).reshape(-1, 2), np.ones(len(pixels))
        )
        points = np.array(points, np.float32).reshape(-1, 3)
        draw(
            image, IMAGE, points, (maps[0], maps[1]), [objects(), objects(found)], GRID, attended,
            'title', tmp_path / 'x.png',
        )  # fmt: skip
        return matplotlib.image.imread(tmp_path / 'x.png')[..., :3]

    def columns(one, other, low=0.12, high=0.45):  # below the title, above the maps
        rows, cols = np.nonzero(np.abs(one - other).max(axis=2) > 0.1)
        chosen = (rows > low * len(one)) & (rows < high * len(one))
        return cols[chosen] / one.shape[1]

    bare = drawn([], [])
    left = columns(bare, drawn([[10, 6 + 0.1 * i, 0] for i in range(30)], []))
    assert len(left) > 20
    assert left.max() < 0.3
    right = columns(bare, drawn([], [(180, 30)]))
    assert len(right) > 20
    assert right.min() > 0.7
    # The box is in the fused map alone, which is in the middle; its left half is at the left.
    boxed = columns(bare, drawn([], [], [[8, 4, 0, 4, 2, 1.5, 0]]), 0.55, 0.95)
    assert len(boxed) > 20
    assert 0.33 < np.median(boxed) < 0.5
