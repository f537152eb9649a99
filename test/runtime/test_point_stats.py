# SPDX-License-Identifier: Apache-2.0
"""What is told of lost points: each time that it begins, and not with every cloud."""

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
    """Keeps lines, and is the clock as well."""

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
def tally(log: Log) -> PointStats:
    return PointStats(log, lambda: log.now)


def points(count: int, x: float = 1.0) -> np.ndarray:
    random = np.random.default_rng(0).uniform(-1, 1, (count, 4)).astype(np.float32)
    return random + np.float32([x, 0, -1, 0])


def cloud(kept: int, dropped: int = 0, *doubts: str) -> DecodedCloud:
    return DecodedCloud(points(kept), dropped, doubts)


def test_a_notice_comes_each_time_that_it_begins(log: Log):
    notice = LogThrottle(lambda: log.now)
    told = []
    for now, holds in [(0, 1), (1, 1), (99, 1), (100, 0), (101, 1), (102, 0), (103, 1), (111, 1)]:
        log.now = now * S
        if notice.is_due(bool(holds)):
            told.append(now)
    # The third time began within 10 s of the second line: it waits for these.
    assert told == [0, 101, 111]


def test_a_notice_that_repeats_comes_every_ten_seconds(log: Log):
    notice = LogThrottle(lambda: log.now, again=True)
    told = []
    for now in range(0, 35):
        log.now = now * S
        if notice.is_due(now != 12):
            told.append(now)
    assert told == [0, 10, 20, 30]


def test_points_that_are_not_finite_are_told_again_after_good_clouds(log: Log, tally: PointStats):
    for _ in range(3):
        tally.read(cloud(5, 3))
    assert log.new() == ['left out 3 of 8 points of a cloud, which are not finite (3 so far)']
    log.now = 20 * S
    tally.read(cloud(5, 1))
    assert log.new() == []
    tally.read(cloud(5))
    tally.read(cloud(5, 2))
    assert log.new() == ['left out 2 of 7 points of a cloud, which are not finite (12 so far)']
    assert tally.dropped == 12
    assert list(tally.warnings()) == []


def test_a_total_loss_is_told_after_a_partial_one_and_for_as_long_as_it_lasts(
    log: Log, tally: PointStats
):
    tally.read(cloud(5, 3))
    assert len(log.new()) == 1
    told = []
    for second in range(25):
        log.now = second * S
        tally.read(cloud(0, 8))
        tally.place(points(0), 0, 0, GRID)
        told += log.new()
    assert told == [
        f'left out all 8 points of a cloud, as none is finite ({count} such clouds so far)'
        for count in (1, 11, 21)
    ]
    assert list(tally.warnings()) == ['no point of 25 clouds is finite']
    assert list(tally.warnings()) == []


def test_clouds_outside_of_the_grid_are_told_with_both_extents(log: Log, tally: PointStats):
    far = np.float32([[100, 5, 2, 0], [120.5, -5, 30, 0]])
    tally.place(points(100), 80, 20, GRID)
    assert log.new() == []
    for second in range(11):
        log.now = second * S
        tally.place(far, 0, 0, GRID)
    line = (
        'none of the 2 points of a cloud are in the grid: they are in x [100, 120.5], '
        'y [-5, 5], z [2, 30] m; expected x [0, 8], y [-4, 4], z [-3, 1] m'
    )
    assert log.new() == [line, line]
    assert list(tally.warnings()) == ['11 of 12 clouds have no point in the grid']
    assert tally.pairs() == {
        'points_not_finite': '0',
        'points_received': '2',
        'points_in_grid_fraction': '0.0000',
        'clouds_outside_grid': '11',
        'last_outside_grid_warning': line,
    }
    # Back in it, and out again.
    log.now = 30 * S
    tally.place(points(100), 80, 20, GRID)
    tally.place(far, 0, 0, GRID)
    assert log.new() == [line]


def test_clouds_that_lie_mostly_outside_are_told(log: Log, tally: PointStats):
    tally.place(points(1000, 50.0), 10, 3, GRID)
    (line,) = log.new()
    assert line.startswith('10 of the 1000 points of a cloud are in the grid: they are in x [49')
    assert list(tally.warnings()) == ['1 of 1 clouds have at most 1% of their points in the grid']
    tally.place(points(1000), 11, 3, GRID)
    assert log.new() == [] and list(tally.warnings()) == []


def test_clouds_without_points_are_told(log: Log, tally: PointStats):
    tally.read(cloud(0))
    tally.place(points(0), 0, 0, GRID)
    assert log.new() == [
        'a cloud has no points; expected some in the grid: x [0, 8], y [-4, 4], z [-3, 1] m'
    ]
    assert list(tally.warnings()) == ['1 of 1 clouds have no point in the grid']


def test_extents_are_those_in_the_frame_of_the_cloud(log: Log, tally: PointStats):
    grid = BevGrid((5000, 5008), (-4, 4), (-3, 1), 0.5)
    tally.place(np.float32([[1000, 0, 0, 0]]), 0, 0, grid)
    assert 'they are in x [6004, 6004], y [0, 0], z [0, 0] m; expected x [5000' in log.lines[0]


def test_points_that_are_all_in_one_place_are_told_once(log: Log, tally: PointStats):
    zeros = np.zeros((300, 4), np.float32)
    tally.place(zeros, 300, 1, GRID)
    tally.place(zeros, 300, 1, GRID)
    assert log.new() == ['all 300 points of a cloud are at x 0, y 0, z 0']
    tally.place(points(20) / 100, 20, 1, GRID)
    assert log.new() == []


def test_doubts_are_told_as_they_begin_and_kept_for_diagnostics(log: Log, tally: PointStats):
    doubt, other = 'is_bigendian is true; expected false', 'data has {} bytes; expected 400'
    for count in range(3):
        tally.read(cloud(5, 0, doubt, other.format(500 + count)))
    assert log.new() == [f'of a cloud: {doubt}', f'of a cloud: {other.format(500)}']
    assert list(tally.warnings()) == [doubt, other.format(502)]
    log.now = 20 * S
    tally.read(cloud(5))
    tally.read(cloud(5, 0, doubt))
    assert log.new() == [f'of a cloud: {doubt}']


def test_the_demo_does_not_call_a_cloud_off_the_map_a_success():
    told = {'published': '3', 'clouds_outside_grid': '3'}
    told['last_outside_grid_warning'] = 'they are in x [9, 10]'
    with pytest.raises(TinyBevError, match=r'no cloud has a point in the grid: they are in x'):
        check_points(told)
    assert row(told) == (
        'clouds_outside_grid',
        '3 of 3, warm-up included',
    )
    check_points(told | {'clouds_outside_grid': '2'})
    check_points({'published': '0', 'clouds_outside_grid': '0'})
    check_points({})
    assert row({})[1] == 'unknown'


def test_the_demo_takes_a_last_cloud_without_points():
    assert hint(np.empty((0, 4), np.float32), '') == 'the last cloud has no usable point'
    narrow = points(20)
    assert 'GRID=close' in hint(narrow, '')
    assert hint(narrow, 'close') == hint(narrow * 9, '') == ''
