# SPDX-License-Identifier: Apache-2.0
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
