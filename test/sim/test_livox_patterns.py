# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Scan patterns of Livox LiDARs: within their fields of view, and never twice the same."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba')

from dataclasses import replace

import numpy as np
import pytest

from tiny_bev_ros.sim import LIDARS, Mounting, scan, street
from tiny_bev_ros.sim.world.parts import Material, PartList, Pose, rotation
from tiny_bev_ros.sim.world.scene import empty
from tiny_bev_ros.sim.world.terrain import flat

LIVOX = ['mid360', 'avia', 'hap']
HERE = (0.0, 0.0, 0.0)
# Points per frame; horizontal field of view, lowest and highest elevation in degrees.
DATA_SHEET = {
    'mid360': (20_000, 360, -7, 52),
    'avia': (24_000, 70.4, -38.6, 38.6),
    'hap': (45_200, 120, -12.5, 12.5),
}


def exact(name):
    """The sensor without noise, which measures everything it meets."""
    return replace(LIDARS[name], noise=0.0, dropout=0.0, faintness=1e-12, min_range=0.01)


def directions(name, seed):
    azimuth, elevation = LIDARS[name].pattern(np.random.default_rng(seed)).T
    return (azimuth + 180) % 360 - 180, elevation


@pytest.mark.parametrize('name', LIVOX)
def test_patterns_fill_the_field_of_view_of_the_data_sheet(name):
    count, wide, low, high = DATA_SHEET[name]
    frames = [directions(name, seed) for seed in range(10)]
    assert all(len(azimuth) == count for azimuth, _ in frames)
    azimuth, elevation = np.concatenate(frames, axis=1)
    assert np.abs(azimuth).max() <= wide / 2
    assert np.abs(azimuth).max() > wide / 2 - 1
    assert low <= elevation.min() < low + 1
    assert high - 1 < elevation.max() <= high


@pytest.mark.parametrize('name', LIVOX)
def test_frames_add_directions(name):
    def cells(seeds):
        azimuth, elevation = np.concatenate([directions(name, seed) for seed in seeds], axis=1)
        return len(np.unique(np.stack([azimuth // 0.1, elevation // 0.1]), axis=1).T)

    np.testing.assert_array_equal(directions(name, 3), directions(name, 3))
    assert cells(range(5)) > 2 * cells(range(1))


@pytest.mark.parametrize('name', LIVOX)
def test_ground_and_wall_are_where_they_are(name):
    parts = PartList()
    parts.stand(Pose(10.5, 0)).box((0, 0, 2), (1, 40, 5), Material(1.0))
    scene = replace(empty(flat(reflectivity=1.0)), parts=parts.array())
    mounting = Mounting(1.0, pitch=0.05, roll=-0.03)
    sweep = scan(scene, exact(name), HERE, 2, mounting)
    level = sweep.points[:, :3] @ rotation(0, mounting.pitch, mounting.roll).T
    ground, wall = (level[sweep.instance_ids == kind] for kind in (-2, -1))
    assert len(ground) > 500
    assert len(wall) > 500
    np.testing.assert_allclose(ground[:, 2], -1.0, atol=0.02)
    front = wall[wall[:, 2] < 3.4]
    np.testing.assert_allclose(front[:, 0], 10.0, atol=0.01)
    # No ray passes through the wall.
    behind = ground[np.abs(ground[:, 1]) < ground[:, 0]]
    assert behind[:, 0].max() < 10


@pytest.mark.parametrize('name', LIVOX)
def test_parts_behind_the_sensor_and_across_the_azimuth_of_pi(name):
    parts = PartList()
    for x in (-8, 8):
        parts.stand(Pose(x, 0.2)).box((0, 0, 1), (0.5, 3, 6), Material(1.0))
    scene = replace(empty(flat()), parts=parts.array())
    for yaw in (0.0, np.pi):
        sweep = scan(scene, exact(name), (0, 0, yaw), 1)
        x, y = sweep.points[sweep.instance_ids == -1, :2].T
        for sign in (1, -1) if LIDARS[name].around else (1,):
            side = y[x * sign > 0]
            assert side.min() == pytest.approx(-1.5 + 0.2 * np.cos(yaw), abs=0.3)
            assert side.max() == pytest.approx(1.5 + 0.2 * np.cos(yaw), abs=0.3)


@pytest.mark.parametrize('name', LIVOX)
def test_range_limits_and_noise(name):
    parts = PartList()
    parts.stand(Pose(10.5, 0)).box((0, 0, 1), (1, 12, 6), Material(1.0))
    wall = replace(empty(flat()), parts=parts.array())

    def points(**changes):
        sweep = scan(wall, replace(exact(name), **changes), HERE)
        return sweep.points[sweep.instance_ids == -1]

    assert not len(points(max_range=9.9))
    assert not len(points(min_range=15.0))
    front = points(noise=0.02)
    front = front[(np.abs(front[:, 1]) < 1) & (np.abs(front[:, 2]) < 1.5)]
    assert np.std(front[:, 0]) == pytest.approx(0.02, rel=0.25)


@pytest.mark.parametrize('name', LIVOX)
def test_porous_parts_let_rays_through(name):
    parts = PartList()
    parts.stand(Pose(0, 0)).box((5, 0, 1), (0.1, 6, 6), Material(1.0, density=0.3))
    parts.box((9, 0, 1), (1, 12, 12), Material(1.0))
    x, y, z, _ = scan(replace(empty(flat()), parts=parts.array()), exact(name), HERE).points.T
    middle = x[(np.abs(y) < 0.4 * x) & (z > -0.15 * x) & (z < 0.3 * x)]
    assert (middle < 6).mean() == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize('name', LIVOX)
def test_equal_seeds_give_equal_frames(name):
    one, again, other = (scan(street(2), LIDARS[name], HERE, seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one.points, again.points)
    assert one.points.shape != other.points.shape
    assert np.linalg.norm(one.points[:, :3], axis=1).min() > LIDARS[name].min_range - 0.1
