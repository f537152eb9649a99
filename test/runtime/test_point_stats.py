# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Logs of lost points: each time that a loss begins, not with every cloud."""

from __future__ import annotations

import numpy as np
import pytest

from tiny_bev_ros.demo.point_check import check_points, hint, row
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.messages.point_cloud import DecodedCloud
from tiny_bev_ros.runtime.log_throttle import LogThrottle
from tiny_bev_ros.runtime.point_stats import PointStats

GRID = BevGrid((0, 8), (-4, 4), (-3, 1), 0.5)
S = 10**9


class Log:
    """Records lines, and is the clock as well."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.now = 0

    def warning(self, line: str) -> None:
        self.lines.append(line)

    def new(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def stats(log: Log) -> PointStats:
    return PointStats(log, lambda: log.now)


def points(count: int, x: float = 1.0) -> np.ndarray:
    random = np.random.default_rng(0).uniform(-1, 1, (count, 4)).astype(np.float32)
    return random + np.float32([x, 0, -1, 0])


def cloud(kept: int, dropped: int = 0, *notes: str) -> DecodedCloud:
    return DecodedCloud(points(kept), dropped, notes)


def test_a_condition_is_logged_each_time_that_it_begins(log: Log):
    throttle = LogThrottle(lambda: log.now)
    logged = []
    for now, holds in [(0, 1), (1, 1), (99, 1), (100, 0), (101, 1), (102, 0), (103, 1), (111, 1)]:
        log.now = now * S
        if throttle.should_log(bool(holds)):
            logged.append(now)
    # The third one began less than 10 s after the second line, so it is delayed.
    assert logged == [0, 101, 111]


def test_a_repeated_log_comes_every_ten_seconds(log: Log):
    throttle = LogThrottle(lambda: log.now, repeat=True)
    logged = []
    for now in range(0, 35):
        log.now = now * S
        if throttle.should_log(now != 12):
            logged.append(now)
    assert logged == [0, 10, 20, 30]


def test_points_that_are_not_finite_are_logged_again_after_good_clouds(
    log: Log, stats: PointStats
):
    for _ in range(3):
        stats.count_decoded(cloud(5, 3))
    assert log.new() == [
        'points: dropped 3 of 8 points of a cloud, which are not finite (3 so far)'
    ]
    log.now = 20 * S
    stats.count_decoded(cloud(5, 1))
    assert log.new() == []
    stats.count_decoded(cloud(5))
    stats.count_decoded(cloud(5, 2))
    assert log.new() == [
        'points: dropped 2 of 7 points of a cloud, which are not finite (12 so far)'
    ]
    assert stats.dropped == 12
    assert list(stats.warnings()) == []


def test_a_total_loss_is_logged_after_a_partial_one_and_for_as_long_as_it_lasts(
    log: Log, stats: PointStats
):
    stats.count_decoded(cloud(5, 3))
    assert len(log.new()) == 1
    logged = []
    for second in range(25):
        log.now = second * S
        stats.count_decoded(cloud(0, 8))
        stats.count_in_grid(points(0), 0, 0, GRID)
        logged += log.new()
    assert logged == [
        f'points: dropped all 8 points of a cloud, none of which is finite '
        f'({count} such clouds so far)'
        for count in (1, 11, 21)
    ]
    assert list(stats.warnings()) == ['no point of 25 clouds is finite']
    assert list(stats.warnings()) == []


def test_clouds_outside_of_the_grid_are_logged_with_both_extents(log: Log, stats: PointStats):
    far = np.float32([[100, 5, 2, 0], [120.5, -5, 30, 0]])
    stats.count_in_grid(points(100), 80, 20, GRID)
    assert log.new() == []
    for second in range(11):
        log.now = second * S
        stats.count_in_grid(far, 0, 0, GRID)
    line = (
        'none of the 2 points of a cloud are in the grid: they are in x [100, 120.5], '
        'y [-5, 5], z [2, 30] m; expected x [0, 8], y [-4, 4], z [-3, 1] m'
    )
    assert log.new() == [f'points: {line}'] * 2
    assert list(stats.warnings()) == ['11 of 12 clouds have no point in the grid']
    assert stats.pairs() == {
        'points_not_finite': '0',
        'points_received': '2',
        'points_in_grid_fraction': '0.0000',
        'clouds_outside_grid': '11',
        'points_in_self_box': '0',
        'objects_around_sensor': '0',
        'last_outside_grid_warning': line,
    }
    # Inside again, and outside again.
    log.now = 30 * S
    stats.count_in_grid(points(100), 80, 20, GRID)
    stats.count_in_grid(far, 0, 0, GRID)
    assert log.new() == [f'points: {line}']


def test_clouds_that_lie_mostly_outside_are_logged(log: Log, stats: PointStats):
    stats.count_in_grid(points(1000, 50.0), 10, 3, GRID)
    (line,) = log.new()
    assert line.startswith(
        'points: 10 of the 1000 points of a cloud are in the grid: they are in x [49'
    )
    assert list(stats.warnings()) == ['1 of 1 clouds have at most 1% of their points in the grid']
    stats.count_in_grid(points(1000), 11, 3, GRID)
    assert log.new() == [] and list(stats.warnings()) == []


def test_clouds_without_points_are_logged(log: Log, stats: PointStats):
    stats.count_decoded(cloud(0))
    stats.count_in_grid(points(0), 0, 0, GRID)
    assert log.new() == [
        'points: a cloud has no points; expected some in the grid: '
        'x [0, 8], y [-4, 4], z [-3, 1] m'
    ]
    assert list(stats.warnings()) == ['1 of 1 clouds have no point in the grid']


def test_extents_are_those_in_the_frame_of_the_cloud(log: Log, stats: PointStats):
    grid = BevGrid((5000, 5008), (-4, 4), (-3, 1), 0.5)
    stats.count_in_grid(np.float32([[1000, 0, 0, 0]]), 0, 0, grid)
    assert 'they are in x [6004, 6004], y [0, 0], z [0, 0] m; expected x [5000' in log.lines[0]


def test_points_that_are_all_in_one_place_are_logged_once(log: Log, stats: PointStats):
    zeros = np.zeros((300, 4), np.float32)
    stats.count_in_grid(zeros, 300, 1, GRID)
    stats.count_in_grid(zeros, 300, 1, GRID)
    assert log.new() == ['points: all 300 points of a cloud are at x 0, y 0, z 0']
    stats.count_in_grid(points(20) / 100, 20, 1, GRID)
    assert log.new() == []


def test_notes_are_logged_as_they_begin_and_kept_for_diagnostics(log: Log, stats: PointStats):
    note, other = 'is_bigendian is true; expected false', 'data has {} bytes; expected 400'
    for count in range(3):
        stats.count_decoded(cloud(5, 0, note, other.format(500 + count)))
    assert log.new() == [f'points: {note}', f'points: {other.format(500)}']
    assert list(stats.warnings()) == [note, other.format(502)]
    log.now = 20 * S
    stats.count_decoded(cloud(5))
    stats.count_decoded(cloud(5, 0, note))
    assert log.new() == [f'points: {note}']


def test_the_demo_does_not_call_a_cloud_off_the_map_a_success():
    logged = {'published': '3', 'clouds_outside_grid': '3'}
    logged['last_outside_grid_warning'] = 'they are in x [9, 10]'
    with pytest.raises(TinyBevError, match=r'no cloud has a point in the grid: they are in x'):
        check_points(logged)
    assert row(logged) == (
        'clouds without a point in the grid',
        '3 of 3, warm-up included',
    )
    check_points(logged | {'clouds_outside_grid': '2'})
    check_points({'published': '0', 'clouds_outside_grid': '0'})
    check_points({})
    assert row({})[1] == 'unknown'


def test_the_demo_takes_a_last_cloud_without_points():
    assert hint(np.empty((0, 4), np.float32), '') == 'the last cloud has no usable point'
    narrow = points(20)
    assert 'GRID=close' in hint(narrow, '')
    assert hint(narrow, 'close') == hint(narrow * 9, '') == ''
