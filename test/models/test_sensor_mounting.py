# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Height and tilt of a sensor, estimated from simulated ground."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ground_cloud import MID360_LIKE, VLP16, ground_cloud

from tiny_bev_ros.models.sensor_mounting import MountingEstimate, estimate_mounting
from tiny_bev_ros.sim import LIDARS, Mounting, ego_pose, scan, street, street_plan


def check(
    estimate: MountingEstimate | None, height: float, pitch: float = 0, roll: float = 0,
    metres: float = 0.12, degrees: float = 1.2,
) -> None:  # fmt: skip
    """Compares an estimate with the truth, angles in degrees."""
    assert estimate is not None
    assert estimate.height == pytest.approx(height, abs=metres)
    assert math.degrees(estimate.pitch) == pytest.approx(pitch, abs=degrees)
    assert math.degrees(estimate.roll) == pytest.approx(roll, abs=degrees)
    assert estimate.support >= 30


@pytest.mark.parametrize('height', [0.3, 0.5, 1.0, 1.73, 3.0])
@pytest.mark.parametrize(('pitch', 'roll'), [(0, 0), (5, 0), (0, -5), (-7, 4)])
def test_a_sensor_on_a_plane(height: float, pitch: float, roll: float):
    points = ground_cloud(height, pitch, roll, kerb=False)
    check(estimate_mounting(points), height, pitch, roll, metres=0.03, degrees=0.3)


@pytest.mark.parametrize('height', [0.4, 1.73])
def test_a_kerb_tilts_the_estimate_a_little(height: float):
    check(estimate_mounting(ground_cloud(height)), height)


def test_more_noise_than_a_sensor_has():
    check(estimate_mounting(ground_cloud(1.73, 5, noise=0.1)), 1.73, 5)


def test_base_link_is_on_the_ground():
    points = ground_cloud(1.6) + np.float32([0, 0, 1.6, 0])
    check(estimate_mounting(points), 0.0)


@pytest.mark.parametrize(('height', 'pitch'), [(1.73, 0), (0.5, 5)])
def test_a_sensor_that_sees_ahead_alone(height: float, pitch: float):
    beams = tuple(np.linspace(12, -12, 30).tolist())
    points = ground_cloud(height, pitch, 0, beams, (-35, 35))
    check(estimate_mounting(points), height, pitch)


@pytest.mark.parametrize('height', [0.5, 1.5])
def test_a_sensor_that_sees_little_ground(height: float):
    points = ground_cloud(height, elevations=MID360_LIKE)
    check(estimate_mounting(points), height)


def test_the_own_vehicle_is_no_ground():
    """A hood and a roof below the sensor, with more points than the road."""
    random = np.random.default_rng(0)
    body = random.uniform([-2, -0.9, -0.75, 0], [2.4, 0.9, -0.7, 1], (9000, 4))
    points = np.concatenate([body.astype(np.float32), ground_cloud(1.73)])
    check(estimate_mounting(points), 1.73)


def test_points_below_the_ground_are_reflections():
    random = np.random.default_rng(0)
    below = random.uniform([-20, -20, -6, 0], [20, 20, -2, 1], (400, 4)).astype(np.float32)
    check(estimate_mounting(np.concatenate([below, ground_cloud(1.73)])), 1.73)


@pytest.mark.parametrize('lidar', ['vlp16', 'vlp32'])
@pytest.mark.parametrize(
    'mounting',
    [Mounting(), Mounting(0.4), Mounting(1.73, math.radians(5)), Mounting(2.5, 0, -0.09)],
)
def test_streets_with_kerbs_cars_and_walls(lidar: str, mounting: Mounting):
    """The road falls to its gutters: simulated ones lean to the right of the sensor's lane."""
    for seed in (1, 2):
        pose = ego_pose(street_plan(seed), 3.0)
        points = scan(street(seed), LIDARS[lidar], pose, seed, mounting).points
        pitch, roll = math.degrees(mounting.pitch), math.degrees(mounting.roll)
        check(estimate_mounting(points), mounting.height, pitch, roll, 0.25, 2.0)


@pytest.mark.parametrize('count', [0, 1, 100, 1000, 20000, 120000])
@pytest.mark.parametrize('half', [(40, 40, 2), (10, 10, 1), (50, 50, 5)])
def test_a_random_cloud_has_no_ground(count: int, half: tuple[float, ...]):
    for seed in range(3):
        random = np.random.default_rng(seed)
        high = np.array(half)
        assert estimate_mounting(random.uniform(-high, high, (count, 3)).astype('f4')) is None
        normal = random.normal(0, high / 2, (count, 3)).astype(np.float32)
        assert estimate_mounting(normal) is None


def test_walls_alone_are_no_ground():
    points = ground_cloud(1.73)
    assert estimate_mounting(points[points[:, 2] > 0]) is None


def test_an_estimate_is_reproducible():
    points = ground_cloud(0.7, 3, elevations=VLP16)
    assert estimate_mounting(points) == estimate_mounting(points.copy())


def test_tilt_is_the_angle_to_the_vertical():
    estimate = MountingEstimate(1.0, math.radians(3), math.radians(-4))
    assert math.degrees(estimate.tilt) == pytest.approx(5.0, abs=0.01)
    up = estimate.rotation[2]
    assert math.acos(up[2]) == pytest.approx(estimate.tilt)
    assert estimate.rotation @ estimate.rotation.T == pytest.approx(np.eye(3))
