# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Emulation of Autoware's node: pillars, decoding and suppression by hand-made cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tiny_bev_ros.export.autoware_emulation import (
    AutowareGrid,
    AutowareObjects,
    decode,
    make_pillars,
    suppress,
)

CLASS_NAMES = ['CAR', 'PEDESTRIAN', 'BICYCLE']
POST_PROCESS = {
    'circle_nms_dist_threshold': 0.5,
    'iou_nms_search_distance_2d': 10.0,
    'iou_nms_threshold': 0.1,
}
MODEL: dict[str, Any] = {
    'class_names': CLASS_NAMES,
    'max_voxel_size': 3,
    'point_cloud_range': [-4.0, -2.0, -1.0, 4.0, 2.0, 3.0],
    'voxel_size': [1.0, 1.0, 4.0],
    'downsample_factor': 2,
    'yaw_norm_thresholds': [0.3, 0.3, 0.3],
    'detection_score_thresholds': {
        'distance_bin_upper_limits': [2.0, 4.0],
        'min_confidence_scores': {'CAR': [0.5, 0.8], 'PEDESTRIAN': [0.2, 0.2], 'BICYCLE': [0, 0]},
    },
}
GRID = AutowareGrid.from_parameters(MODEL)


def test_points_are_decorated():
    points = np.array([[0.25, 0.5, 1.0], [0.75, 0.5, 2.0]], np.float32)
    pillars = make_pillars(points, GRID)
    assert pillars.cells.tolist() == [2 * 8 + 4]
    rows = pillars.features[0, :2][np.argsort(pillars.features[0, :2, 0])]
    first = [0.25, 0.5, 1.0, 0, -0.25, 0, -0.5, -0.25, 0, 0]
    second = [0.75, 0.5, 2.0, 0, 0.25, 0, 0.5, 0.25, 0, 1]
    assert np.allclose(rows, [first, second])
    assert not pillars.features[0, 2:].any()


def test_points_outside_are_dropped():
    inside = [[-4, -2, -1], [3.9, 1.9, 2.9]]
    outside = [[4, 0, 0], [0, 2, 0], [0, 0, 3], [-4.1, 0, 0], [0, -2.1, 0], [0, 0, -1.1]]
    pillars = make_pillars(np.array(inside + outside, np.float32), GRID)
    assert pillars.cells.tolist() == [3 * 8 + 7, 0]


def test_a_pillar_keeps_32_points_in_random_order():
    points = np.tile(np.float32([0.5, 0.5, 0.0]), (40, 1))
    points[:, 2] = np.arange(40) / 40
    pillars = [make_pillars(points, GRID, seed) for seed in (0, 0, 1)]
    kept = [set(each.features[0, :, 2].tolist()) for each in pillars]
    assert len(kept[0]) == 32
    assert kept[0] == kept[1] != kept[2]
    assert pillars[0].crowded.tolist() == [2 * 8 + 4]
    assert np.allclose(pillars[0].features[0, :, 4:7].mean(0), 0, atol=1e-6)


def test_the_last_pillars_are_dropped_from_the_back():
    points = np.array([[x + 0.5, 0.5, 0] for x in (-3, 2, 0, 3)], np.float32)
    pillars = make_pillars(points, GRID)
    assert (pillars.cells % 8).tolist() == [7, 6, 4]
    assert pillars.dropped == 1
    assert len(make_pillars(points[:0], GRID).cells) == 0


def outputs(scores: list[list[float]], **others: Any) -> dict[str, np.ndarray]:
    """Maps of 2 x 4 cells whose first cells have scores by class."""
    maps = {
        'heatmap': np.full((1, 3, 2, 4), -20.0),
        'reg': np.full((1, 2, 2, 4), 0.5),
        'height': np.zeros((1, 1, 2, 4)),
        'dim': np.zeros((1, 3, 2, 4)),
        'rot': np.ones((1, 2, 2, 4)),
        'vel': np.zeros((1, 2, 2, 4)),
    }
    for index, values in enumerate(scores):
        probability = np.array(values)
        maps['heatmap'][0, :, index // 4, index % 4] = np.log(probability / (1 - probability))
    maps |= others
    return {name: value.astype(np.float32) for name, value in maps.items()}


def test_a_cell_has_an_object_of_its_best_class():
    maps = outputs([[0.001] * 3, [0.6, 0.55, 0.1]], dim=np.log([[[[2.0]], [[4.0]], [[1.5]]]]))
    maps['dim'] = np.broadcast_to(maps['dim'], (1, 3, 2, 4))
    maps['rot'][0, :, 0, 1] = -np.cos(0.4), -np.sin(0.4)
    maps['height'][0, 0, 0, 1] = 0.7
    found = decode(maps, MODEL)
    assert found.labels.tolist() == [0]
    assert np.allclose(found.scores, 0.6)
    box = found.boxes[0]
    assert np.allclose(box[:6], [-4 + 2 * 1.5, -2 + 2 * 0.5, 0.7, 4.0, 2.0, 1.5])
    assert np.cos(box[6] - 0.4) == pytest.approx(1)


def test_thresholds_depend_on_class_and_distance():
    # Centres lie 3.2, 1.4, 1.4 and 3.2 m away.
    low = 0.001
    cells = [[0.75, low, low], [0.75, low, low], [0.45, low, low], [low, 0.25, low]]
    found = decode(outputs(cells), MODEL)
    assert found.labels.tolist() == [0, 1]
    assert np.allclose(found.scores, [0.75, 0.25])
    far = decode(outputs([[low, 0.99, low]], reg=np.full((1, 2, 2, 4), -1.0)), MODEL)
    assert len(far.labels) == 0
    short = decode(outputs([[low] * 3, [0.75, low, low]], rot=np.full((1, 2, 2, 4), 0.2)), MODEL)
    assert len(short.labels) == 0


def objects(*rows: tuple[float, float, float, int]) -> AutowareObjects:
    """Boxes of x, length, width and class, best first."""
    boxes = np.array([[x, 0, 0, length, width, 1, 0] for x, length, width, _ in rows], np.float32)
    labels = np.array([label for *_, label in rows])
    return AutowareObjects(boxes, np.linspace(0.9, 0.5, len(rows), dtype=np.float32), labels)


@pytest.mark.parametrize(
    ('rows', 'kept'),
    [
        ([(0, 0.6, 0.6, 1), (0.4, 0.6, 0.6, 1)], [0]),  # centres less than 0.5 m apart
        ([(0, 0.6, 0.6, 1), (0.55, 0.6, 0.6, 1)], [0, 1]),
        ([(0, 4, 2, 0), (2, 4, 2, 0)], [0]),  # overlap of a third
        ([(0, 4, 2, 0), (3.7, 4, 2, 0)], [0, 1]),
        ([(0, 4, 2, 0), (2, 4, 2, 2)], [0]),  # of two classes as well
        ([(0, 4, 2, 0), (1.0, 2, 1.5, 1)], [0, 1]),  # but no pedestrian by another class
        ([(0, 4, 2, 0), (2, 4, 2, 0), (4.5, 4, 2, 0)], [0]),  # a removed one removes others
        ([], []),
    ],
)
def test_near_objects_are_removed(rows: list[Any], kept: list[int]):
    found = objects(*rows) if rows else objects((0, 1, 1, 0)).select(np.array([], np.int64))
    left = suppress(found, POST_PROCESS, CLASS_NAMES)
    assert np.array_equal(left.scores, found.scores[kept])
