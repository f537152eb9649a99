# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

from optional_packages import require_packages

require_packages('numba')

import numpy as np
import pytest

from experiments.street_statistics import (
    format_table,
    measure_streets,
    occupied_cells,
    statistics_table,
    thin_things,
)
from tiny_bev_ros.training.labelled_frame import Frame, instance_ids
from tiny_bev_ros.training.simulated_lidar import simulate_lidar_frame


def upright(x, y, height, wide=0.0):
    """Points of a post, or of a wall along y."""
    z = np.arange(0.05, height + 0.01, 0.05) - 1.7
    across = y + np.linspace(-wide / 2, wide / 2, 1 + int(wide / 0.1))
    return np.stack(
        [np.full(len(z) * len(across), x), np.repeat(across, len(z)), np.tile(z, len(across))], 1
    )


def frame_of(*things, boxes=(), labels=()):
    spacing = np.arange(-40, 40, 0.2)
    ground = np.stack(np.meshgrid(spacing, spacing), 2).reshape(-1, 2)
    ground = np.column_stack([ground, np.full(len(ground), -1.7)])
    points = np.concatenate([ground, *things])
    points = np.column_stack([points, np.zeros(len(points))]).astype(np.float32)
    boxes = np.array(boxes, np.float32).reshape(-1, 7)
    return Frame(points, instance_ids(boxes, points), boxes, np.array(labels, np.int64))


def test_cells_of_things_are_counted_and_not_the_ground():
    assert occupied_cells(frame_of().points) == 0
    # 8 m of wall from the edge of a cell on; another one lies behind the sensor.
    wall = upright(20.1, 4.0, 2.0, wide=7.9)
    assert occupied_cells(frame_of(wall, upright(-20, 0, 2.0, wide=5)).points) == 20


def test_thin_things_stand_free_and_are_as_high_as_posts():
    post = upright(10.1, 3.1, 1.1)
    assert thin_things(frame_of(post)) == 1
    assert thin_things(frame_of(post, upright(15.1, -2.1, 1.3))) == 2
    assert thin_things(frame_of(upright(10.1, 3.1, 0.6))) == 0
    assert thin_things(frame_of(upright(10.1, 3.1, 1.8))) == 0
    assert thin_things(frame_of(upright(10.1, 3.1, 1.1, wide=2.0))) == 0
    assert thin_things(frame_of(post, upright(10.1, 3.8, 1.1))) == 0
    assert thin_things(frame_of(post, boxes=[[10.1, 3.1, -1, 1, 1, 2, 0]], labels=[1])) == 0


def test_statistics_of_objects_in_the_view():
    side = upright(20, 1, 1.5, wide=2.0)
    boxes = [
        [20, 1, -0.9, 4, 2, 1.6, np.radians(45)],
        [20, 1, -0.9, 5, 2, 1.6, np.radians(95)],
        [-20, 1, -0.9, 9, 2, 1.6, 0.0],  # behind
        [25, 9, -0.9, 9, 2, 0.1, 0.0],  # without points
    ]
    found = measure_streets([frame_of(side, boxes=boxes, labels=[0, 0, 0, 1])])
    assert (found.frames, found.counts['vehicle'], found.counts['pedestrian']) == (1, 1, 0)
    np.testing.assert_allclose(found.sizes['vehicle'][1], [5, 2, 1.6], rtol=1e-6)
    assert np.isnan(found.sizes['cyclist']).all()
    assert found.oblique == 0
    points = (found.returns['vehicle'] * 1e3) / (20**2 + 1)
    assert points == pytest.approx(len(side), abs=len(side) * 0.2)
    rows = statistics_table({'some': found, 'others': found})
    assert rows[0] == ['', 'some', 'others']
    assert ['vehicle: number', '1', '1'] in rows
    lines = format_table(rows).splitlines()
    assert len(lines) == len(rows)
    assert len({len(line) for line in lines}) == 1


def test_simulated_streets_are_within_reach_of_real_ones():
    """KITTI: 800 cells; 29 for pedestrians, 43 for cyclists, most of them wholly visible."""
    found = measure_streets(simulate_lidar_frame(seed, ('hdl64',)) for seed in range(12))
    assert 520 < found.occupied < 950
    assert 0.3 < found.thin < 4
    assert 14 < found.returns['pedestrian'] < 40
    assert 20 < found.returns['cyclist'] < 70
