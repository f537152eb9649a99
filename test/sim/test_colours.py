# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Colours of simulated things: they depend on the seed alone, and mark vehicles."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba')

from dataclasses import replace

import numpy as np
import pytest

from tiny_bev_ros.sim import LIDARS, ego_pose, scan, street, street_plan
from tiny_bev_ros.sim.world import parts as kinds
from tiny_bev_ros.sim.world.colours import ASPHALT, GRASS, PAVEMENT, ground_colours, part_colours


def none_of(scene):
    return np.zeros(len(scene.objects), np.bool_)


def test_colours_are_those_of_the_seed():
    scene = street(4)
    one, again, other = (part_colours(scene, seed, none_of(scene)) for seed in (1, 1, 2))
    assert one.dtype == np.float32
    assert one.shape == (len(scene.parts), 3)
    assert one.min() >= 0
    assert one.max() <= 1
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


@pytest.mark.parametrize('seed', range(3))
def test_a_mark_changes_the_paint_of_its_vehicle_and_nothing_else(seed):
    scene = street(seed)
    vehicles = np.nonzero(scene.objects['label'] == 0)[0]
    marked = none_of(scene)
    marked[vehicles[::2]] = True
    plain, warning = part_colours(scene, seed, none_of(scene)), part_colours(scene, seed, marked)
    parts = scene.parts
    painted = (parts['instance_id'] >= 0) & (parts['surface'] == kinds.PAINT)
    expected = painted & marked[parts['instance_id']]
    np.testing.assert_array_equal((plain != warning).any(axis=1), expected)
    # Orange, and nothing else is.
    red, green, blue = warning.T
    orange = (red > 0.8) & (green > 0.35) & (green < 0.6) & (blue < 0.1)
    np.testing.assert_array_equal(orange, expected)


def test_one_vehicle_has_one_paint_and_many_have_many():
    scene = street(0)
    colours, parts = part_colours(scene, 0, none_of(scene)), scene.parts
    paints = set()
    for index in np.nonzero(scene.objects['label'] == 0)[0]:
        own = colours[(parts['instance_id'] == index) & (parts['surface'] == kinds.PAINT)]
        assert (own == own[0]).all()
        paints.add(tuple(own[0]))
    assert len(paints) > 10


def test_ground_is_road_grass_pavement_and_lines():
    for seed in range(4):
        terrain = street(seed).terrain
        colours = ground_colours(street(seed))
        line = terrain.reflectivity > 0.7
        assert (colours[line] > 0.8).all()
        for colour, cells in (
            (ASPHALT, terrain.drivable & ~terrain.green),
            (GRASS, terrain.green),
            (PAVEMENT, ~terrain.drivable & ~terrain.green),
        ):
            assert (colours[cells & ~line] == np.float32(colour)).all()
    assert not (terrain.green & terrain.drivable).any()


def test_colours_are_nothing_to_a_lidar():
    scene = street(1)
    painted = replace(scene, parts=scene.parts.copy())
    painted.parts['surface'] = kinds.PAINT
    pose = ego_pose(street_plan(1))
    one, other = (scan(each, LIDARS['vlp16'], pose, 5) for each in (scene, painted))
    np.testing.assert_array_equal(one.points, other.points)
