# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Clouds with wrong metadata or lost points: warnings of a node, and its maps."""

from __future__ import annotations

import array
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import rclpy
import torch
from node_bench import process, status_of
from rclpy.parameter import Parameter
from sensor_msgs.msg import PointCloud2, PointField

from tiny_bev_ros.messages.point_cloud import encode_cloud
from tiny_bev_ros.nodes.pfn_node import PfnNode

FAR = (10000.0, -20000.0)
# Numbers of stations: a name that came before may still be known to the middleware.
NUMBERS = itertools.count()


class Log:
    """Logger that keeps warnings and errors."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, line: str) -> None:
        self.lines.append(line)

    error = warning


class Station:
    """Active node without an executor, which processes clouds in the test's thread."""

    def __init__(self, node: PfnNode) -> None:
        self.node, self.log = node, Log()
        self.results: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.labels: Any = None
        assert node.start(), node.fault
        node.stats._logger = node.stats.points._logger = self.log
        node._output.publish = self._keep  # type: ignore[method-assign]

    def give(self, message: PointCloud2) -> None:
        """Lets the node process a cloud."""
        process(self.node, message)

    def status(self) -> tuple[int, str, dict[str, str]]:
        """Returns level, message and values of the diagnostics."""
        status = status_of(self.node)
        values = {each.key: each.value for each in status.values}
        return status.level[0], status.message, values

    def _keep(self, pillars: Any, labels: Any, topics: Any) -> None:
        self.results.append(pillars)
        self.labels = labels


@pytest.fixture
def station() -> Iterator[Callable[..., Station]]:
    context = rclpy.Context()
    context.init()
    nodes: list[PfnNode] = []

    def make(middle: tuple[float, float] = (0.0, 0.0)) -> Station:
        x, y = middle
        values = {
            'grid.x_range': [x - 8, x + 8],
            'grid.y_range': [y - 8, y + 8],
            'grid.z_range': [-3.0, 1.0],
            'grid.resolution': 0.5,
            'device': 'cpu',
        }
        nodes.append(
            PfnNode(
                context=context,
                namespace=f'/station_{next(NUMBERS)}',
                parameter_overrides=[Parameter(name, value=each) for name, each in values.items()],
            )
        )
        return Station(nodes[-1])

    yield make
    for node in nodes:
        node.destroy_node()
    context.try_shutdown()


def random_points() -> np.ndarray:
    points = np.random.default_rng(1).uniform([-8, -8, -3, 0], [8, 8, 1, 1], (500, 4))
    return points.astype(np.float32)


def doubles(points: np.ndarray) -> PointCloud2:
    """A cloud of float64."""
    fields = [
        PointField(name=name, offset=8 * k, datatype=PointField.FLOAT64, count=1)
        for k, name in enumerate(('x', 'y', 'z', 'intensity'))
    ]
    data = array.array('B', np.ascontiguousarray(points, '<f8').tobytes())
    return PointCloud2(
        height=1, width=len(points), fields=fields, point_step=32, row_step=32 * len(points),
        data=data,
    )  # fmt: skip


def test_a_cloud_off_the_grid_is_a_warning_each_time_that_it_begins(station):
    made = station()
    good, off = (
        encode_cloud(random_points() + np.float32([x, 0, 0, 0]), (1, 0), 'lidar') for x in (0, 99)
    )
    made.give(good)
    assert made.status()[0] == 0 and made.log.lines == []
    for _ in range(3):
        made.give(off)
    level, message, values = made.status()
    assert level == 1 and '3 of 3 clouds have no point in the grid' in message
    assert values['points_in_grid_fraction'] == '0.0000'
    assert values['points_received'] == '500'
    assert values['clouds_outside_grid'] == '3'
    (line,) = made.log.lines
    assert (
        'none of the 500 points' in line and 'expected x [-8, 8], y [-8, 8], z [-3, 1] m' in line
    )
    assert len(made.results) == 4  # a map that is empty is a map
    made.give(good)
    level, message, values = made.status()
    assert level == 0
    assert values['points_in_grid_fraction'] == '1.0000'


def test_wrong_metadata_of_a_cloud_is_logged_and_its_map_is_right(station):
    made = station()
    points = random_points()
    made.give(encode_cloud(points, (1, 0), 'lidar'))
    lying = encode_cloud(points, (1, 0), 'lidar')
    lying.is_bigendian = True
    made.give(lying)
    level, message, _ = made.status()
    assert level == 1 and 'is_bigendian is True' in message
    (line,) = made.log.lines
    assert 'is_bigendian is True' in line
    assert torch.equal(made.results[1][0], made.results[0][0])
    points[:, 3] = 0
    made.give(encode_cloud(points, (1, 0), 'lidar'))
    points[:, 3] = np.nan
    made.give(encode_cloud(points, (1, 0), 'lidar'))
    assert made.status()[0] == 1
    assert 'intensity is NaN or infinite in all points' in made.log.lines[1]
    assert torch.equal(made.results[3][0], made.results[2][0])
    assert made.node.stats.points.dropped == 0


def test_a_loss_of_all_points_is_logged_although_some_were_lost_before(station):
    made = station()
    points = random_points()
    points[3, 0] = np.nan
    made.give(encode_cloud(points, (1, 0), 'lidar'))
    assert made.status()[0] == 0
    points[:, 1] = np.inf
    made.give(encode_cloud(points, (1, 0), 'lidar'))
    level, message, values = made.status()
    assert level == 1 and 'no point of 1 clouds is finite' in message
    assert values['points_not_finite'] == '501'
    assert [line.partition(' points')[0] for line in made.log.lines] == [
        'points: dropped 1 of 500',
        'points: dropped all 500',
    ]


def test_a_grid_far_away_gives_what_one_near_gives(station):
    near, far = station(), station(FAR)
    points = random_points()
    near.give(encode_cloud(points, (1, 0), 'lidar'))
    far.give(doubles(points.astype(np.float64) + np.array([*FAR, 0, 0])))
    (features, cells), (expected, expected_cells) = far.results[0], near.results[0]
    assert len(cells) > 200 and torch.equal(cells, expected_cells)
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-4)
    # The map lies where the cloud does.
    assert far.labels.x_axis.origin == FAR[0] - 8 and far.labels.y_axis.origin == FAR[1] - 8
    assert far.log.lines == []
    assert far.status()[2]['points_in_grid_fraction'] == '1.0000'
