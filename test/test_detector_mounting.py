# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Detector with sensors at other heights and tilts, and with points of the robot itself."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from tiny_bev_ros.detector import Detector
from tiny_bev_ros.detector_result import DetectorResult
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.mounting_tracker import MountingTracker
from tiny_bev_ros.models.heads.box_ops import iou_3d
from tiny_bev_ros.sim import LIDARS, Mounting, ego_pose, scan, street, street_plan
from tiny_bev_ros.sim.sensors.lidar import Sweep

RANGES: tuple[Any, Any] = ((-25.6, 25.6), (-25.6, 25.6))


def sweep(mounting: Mounting, seed: int = 0) -> Sweep:
    return scan(street(seed), LIDARS['vlp32'], ego_pose(street_plan(seed), 3.0), seed, mounting)


def hits(result: DetectorResult, truth: np.ndarray) -> int:
    """Returns the number of true boxes with a 3-D IoU of 0.4 or more."""
    iou = iou_3d(torch.from_numpy(result.boxes), torch.from_numpy(truth))
    return int((iou.amax(0) >= 0.4).sum()) if len(iou) else 0


def test_level_sensors_near_the_nominal_height_get_the_same_results_to_the_bit():
    given, estimated = (
        Detector(x_range=RANGES[0], y_range=RANGES[1], sensor_height=1.73),
        Detector(x_range=RANGES[0], y_range=RANGES[1]),
    )
    for seed, mounting in enumerate([Mounting(), Mounting(1.5), Mounting(2.1, 0.01, -0.01)]):
        points = sweep(mounting, seed).points
        one, other = given(points), estimated(points)
        assert len(one.boxes)
        assert np.array_equal(one.boxes, other.boxes)
        assert np.array_equal(one.scores, other.scores)
        assert torch.equal(one.features, other.features)
        assert torch.equal(one.heads['drivable'], other.heads['drivable'])
    assert given.mounting.clouds == 0
    assert estimated.mounting.clouds == 3
    assert not estimated.mounting.corrected


@pytest.mark.parametrize(
    ('mounting', 'lift'),
    [
        (Mounting(0.4), 0.0),
        (Mounting(1.73), 1.73),
        (Mounting(1.73, math.radians(6)), 0.0),
        (Mounting(0.6, math.radians(-3), math.radians(5)), 0.0),
    ],
    ids=['low', 'base_link', 'pitch', 'both'],
)
def test_boxes_fit_in_the_frame_of_the_cloud_at_any_mounting(mounting: Mounting, lift: float):
    estimated = Detector(x_range=RANGES[0], y_range=RANGES[1])
    as_nominal = Detector(x_range=RANGES[0], y_range=RANGES[1], sensor_height=1.73)
    found = found_as_nominal = 0
    for seed in range(4):
        frame = sweep(mounting, seed)
        points, truth = frame.points.copy(), frame.boxes[frame.counts >= 10]
        points[:, 2] += lift
        truth[:, 2] += lift
        found += hits(estimated(points), truth)
        found_as_nominal += hits(as_nominal(points), truth)
        assert estimated.mounting.corrected
        estimated.reset_mounting()
    assert found >= found_as_nominal + 3


def test_a_given_height_is_that_of_the_frame():
    frame = sweep(Mounting(1.73))
    points = frame.points + np.float32([0, 0, 1.73, 0])
    given = Detector(x_range=RANGES[0], y_range=RANGES[1], sensor_height=0.0)(points)
    nominal = Detector(x_range=RANGES[0], y_range=RANGES[1], sensor_height=1.73)(frame.points)
    assert given.boxes == pytest.approx(
        nominal.boxes + np.float32([0, 0, 1.73, 0, 0, 0, 0]), abs=1e-2
    )


def test_another_recording_begins_without_the_mounting_of_the_last():
    detector = Detector(x_range=RANGES[0], y_range=RANGES[1])
    detector(sweep(Mounting(0.4)).points)
    assert detector.mounting.height_corrected
    detector.reset_mounting()
    assert not detector.mounting.corrected
    detector(sweep(Mounting()).points)
    assert detector.mounting.clouds == 1
    assert not detector.mounting.corrected


def test_points_of_the_robot_are_as_if_they_were_not_there():
    points = sweep(Mounting()).points
    body = np.random.default_rng(0).uniform([-2.5, -1, -1.7, 0], [2, 1, -0.2, 1], (3000, 4))
    with_body = np.concatenate([points, body.astype(np.float32)])
    ends = [-2.6, 2.1, -1.1, 1.1, -1.8, 0.0]
    boxed = Detector(x_range=RANGES[0], y_range=RANGES[1], self_box=ends)
    alone, left_out = boxed(points), boxed(with_body)
    assert np.array_equal(alone.boxes, left_out.boxes)
    assert torch.equal(alone.features, left_out.features)


def test_the_carrying_vehicle_is_no_object():
    """Returns of a car around the sensor, on its own, are found as a vehicle elsewhere."""
    points = sweep(Mounting()).points
    car = next(
        box for box, count in zip(sweep(Mounting()).boxes, sweep(Mounting()).counts, strict=True)
        if count > 400 and box[3] > 3 and np.hypot(box[0], box[1]) < 10
    )  # fmt: skip
    moved = points - np.float32([car[0], car[1], 0, 0])
    result = Detector(x_range=RANGES[0], y_range=RANGES[1], sensor_height=1.73)(moved)
    there = np.abs(result.boxes[:, :2]).max(axis=1) < 1
    assert not there.any()
    away = moved + np.float32([5, 3, 0, 0])
    result = Detector(x_range=RANGES[0], y_range=RANGES[1], sensor_height=1.73)(away)
    assert (np.abs(result.boxes[:, :2] - np.float32([5, 3])).max(axis=1) < 1).any()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'sensor_height': 'high'}, "sensor_height is 'high'; expected 'auto' or -10 to 10 m"),
        ({'self_box': [1, 0, 0, 1, 0, 1]}, 'self_box has x0 1 and x1 0; expected x0 below'),
    ],
)
def test_a_wrong_option_is_one_clear_error(options: Any, message: str):
    with pytest.raises(TinyBevError, match=message):
        Detector(**options)


def test_a_detector_goes_on_from_the_state_of_another():
    low = [sweep(Mounting(0.4), seed).points for seed in range(2)]
    whole, part = (Detector(x_range=RANGES[0], y_range=RANGES[1], device='cpu') for _ in range(2))
    assert whole.tracker is not None
    whole.track_mounting(low[0])
    state = json.loads(json.dumps(whole.tracker.to_dict()))
    part.restore_mounting(state)
    assert part.mounting == whole.mounting
    assert part.mounting.height_corrected
    one, other = whole(low[1]), part(low[1])
    assert np.array_equal(one.boxes, other.boxes)
    assert torch.equal(one.features, other.features)
    assert part.mounting == whole.mounting
    part.restore_mounting(None)
    assert part.mounting.clouds == 0


def test_a_state_is_refused_where_the_mounting_is_given():
    detector = Detector(x_range=RANGES[0], y_range=RANGES[1], sensor_height=1.73)
    assert detector.tracker is None
    detector.restore_mounting(None)
    with pytest.raises(TinyBevError, match='state of a mounting is given; expected None'):
        detector.restore_mounting(MountingTracker().to_dict())


def test_detectors_in_one_process_share_no_state():
    """Two sensors in turn have the results that each has alone."""

    def make(number: int) -> Detector:
        x_range = RANGES[0] if number else (0.0, 25.6)
        return Detector(x_range=x_range, y_range=RANGES[1], device='cpu')

    streams = [
        [sweep(Mounting(height), seed).points for seed in range(2)] for height in (0.4, 1.73)
    ]
    alone = [list(make(number).detect_all(stream)) for number, stream in enumerate(streams)]
    in_turn = [make(number).detect_all(iter(stream)) for number, stream in enumerate(streams)]
    for index in range(2):
        for number in range(2):
            found, wanted = next(in_turn[number]), alone[number][index]
            assert np.array_equal(found.boxes, wanted.boxes)
            assert torch.equal(found.features, wanted.features)
            assert np.array_equal(found.drivable, wanted.drivable)
            assert np.array_equal(found.observed, wanted.observed)
            assert found.road_height == wanted.road_height
    assert [next(each, None) for each in in_turn] == [None, None]


def test_the_ground_is_that_of_the_cloud():
    """Height and observed cells are computed when they are asked for, and keep no cloud alive."""
    detector = Detector(x_range=RANGES[0], y_range=RANGES[1], device='cpu')
    points = sweep(Mounting(0.4)).points.copy()
    result = detector(points)
    points[:] = 0  # the caller's buffer is used again
    assert result.road_height == pytest.approx(-0.4, abs=0.1)
    assert result.observed.shape == result.grid.shape
    assert 0.1 < result.observed.mean() < 1
    assert result.ground.samples.base is None
    assert result.observed is result.observed
