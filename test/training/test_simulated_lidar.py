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

from tiny_bev_ros.sim import LIDARS
from tiny_bev_ros.training.simulated_lidar import simulate_lidar_frame


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
