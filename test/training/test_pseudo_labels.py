# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Labels of recorded clouds: agreement decides, ground and road are those of the clouds."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba')

import numpy as np
import pytest
from steady_detector import SteadyDetector, cloud_with_cars

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.training.dataset import Crop, frame_labels, make_sample
from tiny_bev_ros.training.labelled_frame import GROUND, is_whole
from tiny_bev_ros.training.pseudo_labels import (
    ground_points,
    label_run,
    predicted_road,
)


def test_objects_that_agree_are_labels():
    detector = SteadyDetector()
    clouds = [cloud_with_cars([(8, 3), (-6, -5)], shift=0.5 * step) for step in range(3)]
    run = label_run(detector, clouds)
    assert detector.calls == 12
    for step, frame in enumerate(run.frames):
        assert frame.counts.min() > 5
        centres = sorted(frame.boxes[:, 0].tolist())
        assert centres == pytest.approx([-6 + 0.5 * step, 8 + 0.5 * step], abs=0.1)
        labels = frame_labels(frame, frame.points, frame.instance_ids == GROUND)
        assert not labels.ignored.any()
        # They teach where objects are, not their boxes.
        sample = make_sample(frame, Crop(16.0, 0.25).ahead(), 2, ['detection'])
        assert sample.targets['detection'].num_objects == 1
        assert not sample.targets['detection'].box_mask.any()


def test_objects_that_disagree_are_ignored():
    """Found in one flip of four, or in one cloud of three: neither required nor wrong."""
    seldom = label_run(SteadyDetector(missed_flips=3), [cloud_with_cars([(8, 3)])])
    assert seldom.detections[0].agreement.tolist() == [0.25]
    flickering = label_run(
        SteadyDetector(), [cloud_with_cars(cars) for cars in ([], [(8, 3)], [])]
    )
    unsure = label_run(SteadyDetector(score=0.35), [cloud_with_cars([(8, 3)])] * 3)
    for frame in (seldom.frames[0], flickering.frames[1], unsure.frames[1]):
        labels = frame_labels(frame, frame.points, frame.instance_ids == GROUND)
        assert labels.ignored.tolist() == [True]
        sample = make_sample(frame, Crop(16.0, 0.25).ahead(), 2, ['detection'])
        assert sample.targets['detection'].num_objects == 0
        assert not sample.targets['detection'].heatmap_mask.all()


def test_the_road_is_that_of_the_detector():
    detector = SteadyDetector()
    frame = label_run(detector, [cloud_with_cars([(8, 3)])]).frames[0]
    x, y = np.array([5.0, -5.0, 5.0]), np.array([1.0, 2.0, -3.0])
    # The detector predicts road to the left, in every flip on the other side.
    assert frame.road.drivable_at(x, y).tolist() == [True, True, False]
    sample = make_sample(frame, Crop(16.0, 0.25).ahead(), 2, ['drivable'])
    assert sample.targets['drivable'].observed.mean() > 0.5


def test_predicted_roads_keep_their_place():
    grid = BevGrid((-4.0, 4.0), (-8.0, 8.0), (-3.0, 2.0), 0.4)
    drivable = np.zeros(grid.shape, np.bool_)
    drivable[int(grid.y_axis.index(3.1)), int(grid.x_axis.index(-2.1))] = True
    road = predicted_road(drivable, grid)
    assert road.drivable_at(np.array([-2.1, 2.1]), np.array([3.1, 3.1])).tolist() == [True, False]


def test_ground_is_low():
    points = cloud_with_cars([(8, 3)])
    ground = ground_points(points)
    assert ground[points[:, 2] < -1.7].all()
    assert not ground[points[:, 2] > -1.4].any()
    assert ground_points(points[:0]).shape == (0,)


def test_whole_sweeps_surround_the_sensor():
    points = cloud_with_cars([])
    assert is_whole(points)
    assert not is_whole(points[points[:, 0] > 0])
