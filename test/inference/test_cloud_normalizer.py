# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Clouds as networks take them: own points, given heights, and objects around the sensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ground_cloud import ground_cloud

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.cloud_normalizer import CloudNormalizer, SelfBox, restore_outputs
from tiny_bev_ros.inference.head_runner import HeadOutputs
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.models.levelling import Levelling

CAR = (4.2, 1.7, 1.5)


def found(*boxes: tuple[float, ...]) -> HeadOutputs:
    count = len(boxes)
    detections = Detections(
        torch.tensor(boxes).reshape(count, 7),
        torch.linspace(0.9, 0.4, count),
        torch.zeros(count, dtype=torch.long),
    )
    return HeadOutputs({'detection': detections, 'drivable': torch.ones(2, 2)})


def test_points_of_the_robot_are_left_out():
    box = SelfBox.from_ends([-2, 2.5, -1, 1, -2, 0.2])
    assert box is not None
    points = np.float32(
        [[0, 0, 0, 1], [2.6, 0, 0, 2], [0, 1.1, 0, 3], [0, 0, 0.3, 4], [-2, -1, -2, 5]]
    )
    assert box.outside(points)[:, 3].tolist() == [2, 3, 4]
    away = points[1:4]
    assert box.outside(away) is away
    assert box.outside(points[:0]).shape == (0, 4)


def test_the_box_of_the_robot_is_in_the_frame_of_the_cloud():
    """Points of a map are relative to the reference of the grid."""
    box = SelfBox.from_ends([1000, 1002, 2000, 2002, -1, 1])
    assert box is not None
    points = np.float32([[1, 1, 0, 1], [3, 1, 0, 2]])
    assert box.outside(points, (1000.0, 2000.0))[:, 3].tolist() == [2]


@pytest.mark.parametrize('none', [[], (), [0.0] * 6])
def test_no_box(none: Any):
    assert SelfBox.from_ends(none) is None


@pytest.mark.parametrize(
    ('ends', 'message'),
    [
        ([1.0, 2.0], 'self_box is [1.0, 2.0]; expected 6 finite numbers, x0, x1, y0, y1, z0, z1'),
        ([0, float('nan'), 0, 1, 0, 1], 'expected 6 finite numbers'),
        ([2, 1, 0, 1, 0, 1], 'self_box has x0 2 and x1 1; expected x0 below'),
        ([0, 1, 0, 1, 3, 3], 'self_box has z0 3 and z1 3; expected z0 below'),
    ],
)
def test_a_wrong_box_is_one_clear_error(ends: list[float], message: str):
    with pytest.raises(TinyBevError) as caught:
        SelfBox.from_ends(ends)
    assert message in str(caught.value)


@pytest.mark.parametrize('height', ['low', '0.4', 11, -11.0, float('nan'), True, None])
def test_a_wrong_height_is_one_clear_error(height: Any):
    with pytest.raises(TinyBevError) as caught:
        CloudNormalizer(height)
    assert str(caught.value) == f"sensor_height is {height!r}; expected 'auto' or -10 to 10 m"


def test_a_given_height_moves_points_up_or_down_and_estimates_nothing():
    normalizer, points = CloudNormalizer(0.4), ground_cloud(0.4, 5)
    cloud = normalizer(points)
    assert normalizer.state.clouds == 0 and normalizer.state.height_corrected
    assert cloud.points[:, :2].tolist() == points[:, :2].tolist()
    assert cloud.points[:, 2] == pytest.approx(points[:, 2] - 1.33, abs=1e-5)
    assert CloudNormalizer(1.73)(points).points is points


def test_clouds_at_the_nominal_mounting_stay_the_same_objects():
    normalizer = CloudNormalizer()
    for seed in range(5):
        points = ground_cloud(1.73, 0.5, seed=seed)
        cloud = normalizer(points)
        assert cloud.points is points and cloud.levelling is None
    assert normalizer.state.clouds == 5
    normalizer.reset()
    assert normalizer.state.clouds == 0


def test_nothing_is_estimated_far_from_the_origin_of_a_map():
    normalizer, points = CloudNormalizer('auto', (5000.0, 0.0)), ground_cloud(0.4)
    assert normalizer(points).points is points
    assert normalizer.state.estimate is None
    assert CloudNormalizer(0.0, (5000.0, 0.0))(points).levelling is not None


def test_nothing_is_estimated_for_networks_that_were_not_trained_on_levelled_clouds():
    points = ground_cloud(height=0.4)
    assert CloudNormalizer('auto')(points).levelling is not None
    normalizer = CloudNormalizer('auto', estimates=False)
    same, levelling = normalizer(points)
    assert same is points and levelling is None
    assert normalizer.state.clouds == 0


def test_objects_around_the_sensor_are_left_out():
    """The carrying vehicle: below a sensor on its roof, or around the origin of base_link."""
    outputs = found(
        (0.3, 0.1, -1.0, *CAR, 0.2),
        (0.0, 2.5, -1.0, *CAR, 0.0),
        (1.4, 1.4, -1.0, *CAR, np.pi / 4),
        (1.4, -1.4, -1.0, *CAR, np.pi / 4),
    )
    kept = restore_outputs(outputs, None)
    assert kept.detections is not None and kept.drivable is outputs.drivable
    assert kept.detections.boxes[:, :2].tolist() == [
        [0.0, 2.5],
        [pytest.approx(1.4), pytest.approx(-1.4)],
    ]
    assert kept.detections.scores.tolist() == pytest.approx([0.9 - 0.5 / 3, 0.4])
    assert len(kept.detections.labels) == 2
    moved = restore_outputs(outputs, None, (0.0, 2.5)).detections
    assert moved is not None and len(moved.boxes) == 3


def test_boxes_are_put_back_and_other_outputs_stay():
    outputs = found((20.0, 3.0, -1.0, *CAR, 0.2))
    restored = restore_outputs(outputs, Levelling(None, -1.33)).detections
    assert restored is not None
    assert restored.boxes[0, :3].tolist() == pytest.approx([20.0, 3.0, 0.33])
    empty = restore_outputs(found(), Levelling(np.eye(3), -1.33)).detections
    assert empty is not None and empty.boxes.shape == (0, 7)
    without = HeadOutputs({'drivable': torch.ones(2, 2)})
    assert restore_outputs(without, Levelling(None, 1.0)) is without
