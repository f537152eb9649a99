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

from functools import partial

import numpy as np
import pytest

from tiny_bev_ros.sim.world import people, two_wheelers, vehicle_kinds
from tiny_bev_ros.sim.world.parts import PartList, Pose, attitudes

# Metres by which the mirrors of cars lie outside of their boxes.
MIRROR = 0.17


def of_kind(kind, parts, random, pose, instance_id):
    return kind.build(parts, random, pose, instance_id, size=kind.draw_size(random))


VEHICLES = {
    name: partial(of_kind, kind)
    for name, kind in vars(vehicle_kinds).items()
    if isinstance(kind, vehicle_kinds.Kind)
}
PEOPLE = {
    'walking': partial(people.pedestrian, walks=True),
    'pushing': partial(people.pedestrian, walks=True, pushes=True),
    'standing': partial(people.pedestrian, walks=False),
    'sitting': people.sitting_person,
    'cyclist': two_wheelers.cyclist,
    'motorcyclist': two_wheelers.motorcyclist,
}


def extents(parts):
    """Lowest and highest x, y and z of the corners of boxes around the parts."""
    _, turn = attitudes(parts['angles'])
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    corners = signs * parts['size'][:, None] / 2
    top = signs[:, 2] > 0
    corners[:, top, :2] *= parts['taper'][:, None]
    corners[:, top, 0] += parts['shift'][:, None]
    corners = np.einsum('sij,scj->sci', turn, corners) + parts['position'][:, None]
    return corners.min(axis=(0, 1)), corners.max(axis=(0, 1))


@pytest.mark.parametrize('name', [*VEHICLES, *PEOPLE])
def test_label_boxes_are_the_extents_of_bodies(name):
    build = {**VEHICLES, **PEOPLE}[name]
    for seed in range(30):
        parts = PartList()
        size = np.array(build(parts, np.random.default_rng(seed), Pose(0, 0), 0))
        low, high = extents(parts.array())
        beside = MIRROR if name in VEHICLES else 0.03
        assert (high[:2] < size[:2] / 2 + (0.06, beside)).all()
        assert (low[:2] > -size[:2] / 2 - (0.06, beside)).all()
        assert -0.02 < low[2] < 0.02
        assert high[2] == pytest.approx(size[2], abs=0.03)
        # Backs of those who sit and the least length of a box leave some room.
        assert high[0] - low[0] > size[0] - 0.32
        assert high[1] - low[1] > size[1] - 0.15


def test_legs_and_arms_swing():
    lengths = {
        walks: [
            people.pedestrian(PartList(), np.random.default_rng(seed), Pose(0, 0), 0, walks=walks)[
                0
            ]
            for seed in range(60)
        ]
        for walks in (True, False)
    }
    assert 0.9 < np.median(lengths[True]) < 1.1
    assert 0.5 <= np.median(lengths[False]) < 0.7
