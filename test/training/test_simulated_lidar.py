# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Simulated LiDAR frames: equal for equal seeds, of different sensors."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba')

import numpy as np
import pytest

from tiny_bev_ros.sim import LIDARS, Mounting
from tiny_bev_ros.training.augment import choose_heading
from tiny_bev_ros.training.labelled_frame import GROUND, in_box
from tiny_bev_ros.training.simulated_lidar import Mountings, simulate_lidar_frame


def test_equal_seeds_give_equal_frames():
    frame, again = (simulate_lidar_frame(7, ('hdl64',)) for _ in range(2))
    np.testing.assert_array_equal(frame.points, again.points)
    np.testing.assert_array_equal(frame.boxes, again.boxes)
    assert frame.whole
    assert len(frame.labels) == len(frame.boxes) == len(frame.counts)
    assert len(frame.instance_ids) == len(frame.points)


def test_lidars_are_drawn():
    frames = [simulate_lidar_frame(seed, tuple(LIDARS)) for seed in range(4)]
    assert len({len(frame.points) for frame in frames}) == 4


def ground_height(frame):
    """Median z of the road within 15 m."""
    x, y, z = frame.points[:, :3].T
    near = (frame.instance_ids == GROUND) & (np.hypot(x, y) < 15)
    return np.median(z[near & frame.road.drivable_at(x, y)])


def test_the_usual_mountings_are_those_of_cars():
    for seed in range(3):
        usual = simulate_lidar_frame(seed, ('vlp16',))
        assert -2.2 < ground_height(usual) < -1.4
        again = simulate_lidar_frame(seed, ('vlp16',), Mountings())
        np.testing.assert_array_equal(usual.points, again.points)


def test_mountings_change_neither_street_nor_pose():
    usual = simulate_lidar_frame(3, ('vlp16',))
    one = simulate_lidar_frame(3, ('vlp16',), Mounting(0.4))
    np.testing.assert_array_equal(usual.labels, one.labels)
    assert one.road is not None
    np.testing.assert_array_equal(usual.road.to_map, one.road.to_map)
    np.testing.assert_allclose(usual.boxes[:, 3:], one.boxes[:, 3:])
    assert ground_height(one) == pytest.approx(-0.4, abs=0.25)
    again = simulate_lidar_frame(3, (LIDARS['vlp16'],), Mountings((0.4, 0.4)))
    np.testing.assert_array_equal(usual.road.to_map, again.road.to_map)


@pytest.mark.parametrize(('lidar', 'low', 'high'), [('vlp16', 0.3, 0.5), ('os1_64', 2.4, 2.5)])
def test_sensors_are_mounted_at_any_height(lidar, low, high):
    for seed in range(3):
        frame = simulate_lidar_frame(seed, (lidar,), Mountings((low, high)))
        assert -high - 0.25 < ground_height(frame) < -low + 0.25


@pytest.mark.parametrize('lidar', ['os1_64', 'hdl32', 'mid360', 'avia'])
def test_levelled_frames_have_level_ground_and_boxes_that_fit(lidar):
    mountings = Mountings((0.4, 2.4), 5.0, levelled=True)
    errors, inside, total = [], 0, 0
    for seed in range(4):
        frame = simulate_lidar_frame(seed, (lidar,), mountings)
        errors.append(ground_height(frame) + 1.73)
        for index, box in enumerate(frame.boxes):
            mine = frame.points[frame.instance_ids == index]
            inside += in_box(box, mine, 0.1).sum()
            total += len(mine)
    # The error of the estimate is Gaussian, 0.15 m and 1 degree.
    assert np.abs(errors).max() < 0.6
    assert np.std(errors) < 0.3
    assert inside / total > 0.95


@pytest.mark.parametrize('height', [0.6, 1.8])
def test_the_body_of_the_vehicle_returns_points_of_no_object(height):
    near = np.zeros(2, np.int64)
    for seed in range(4):
        for own_body in (0, 1):
            mountings = Mountings((height, height), own_body=float(own_body))
            frame = simulate_lidar_frame(seed, ('os1_128',), mountings)
            distance = np.linalg.norm(frame.points[:, :3], axis=1)
            assert distance.min() >= LIDARS['os1_128'].min_range - 0.1
            near[own_body] += ((distance < 2.5) & (frame.instance_ids == -1)).sum()
            assert not ((distance < 1.5) & (frame.instance_ids >= 0)).any()
    assert near[1] > near[0] + 100


def test_robots_stand_clear_of_other_things():
    off_road = 0
    for seed in range(6):
        frame = simulate_lidar_frame(seed, ('hdl32',), Mountings((0.5, 0.5), robots=1.0))
        distance = np.hypot(*frame.points[:, :2].T)
        assert distance[(frame.instance_ids >= -1) & (frame.points[:, 2] < 2)].min() > 0.7
        assert frame.road is not None
        off_road += not frame.road.drivable_at(np.zeros(1), np.zeros(1))[0]
    assert off_road > 0


@pytest.mark.parametrize('lidar', ['avia', 'hap'])
def test_sensors_that_look_ahead_are_not_turned_away(lidar):
    frame = simulate_lidar_frame(1, (lidar,))
    assert not frame.whole
    for seed in range(5):
        assert choose_heading(frame, np.random.default_rng(seed), 0.6) is frame
