# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Simulated LiDAR of a recording: directions, range and completion of gaps."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba')

import numpy as np
import pytest

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.sim import LIDARS, Mounting, ego_pose, scan, street, street_plan
from tiny_bev_ros.training.recorded_lidar import RecordedPattern, recorded_lidar
from tiny_bev_ros.training.simulated_lidar import simulate_lidar_frame


def elevations(points):
    return np.degrees(np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1])))


def test_simulated_frames_have_the_rings_of_the_recording():
    recorded = scan(street(3), LIDARS['vlp16'], ego_pose(street_plan(3)), 0, Mounting()).points
    lidar = recorded_lidar([recorded])
    assert lidar.around
    frame = simulate_lidar_frame(8, [lidar])
    assert 0.5 < len(frame.points) / len(recorded) < 1.2
    assert frame.whole
    # 16 beams from -15 to 15 degrees, in steps of 2; the simulated sensor leans a little.
    found, _ = np.histogram(elevations(frame.points), np.arange(-16.5, 17))
    assert np.hypot(*frame.points[:, :2].T).max() <= lidar.max_range + 1
    rings, between = found[1::2].sum(), found[::2].sum()
    assert max(rings, between) > 0.6 * found.sum()


def test_gaps_are_filled_by_another_cloud():
    left = np.array([[90.0, 0.0], [91.0, 0.0]], np.float32)
    right = np.array([[-90.0, 0.0], [90.5, 0.5]], np.float32)
    drawn = RecordedPattern([left, right])
    sizes = {len(drawn(np.random.default_rng(seed))) for seed in range(20)}
    assert sizes == {2, 3}


def test_points_on_the_own_vehicle_do_not_count():
    points = np.array([[0.2, 0.1, 0], [10, 0, 0], [0, 20, 0]], np.float32)
    lidar = recorded_lidar([points])
    assert lidar.pattern(np.random.default_rng(0)).tolist() == [[0, 0], [90, 0]]
    assert lidar.max_range == 20
    assert not lidar.around
    with pytest.raises(TinyBevError, match='points are 0 in 1 clouds'):
        recorded_lidar([points[:1]])
