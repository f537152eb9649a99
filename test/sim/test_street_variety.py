# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Ranges of what simulated streets hold, next to what real ones do; nothing is scanned."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba')

from types import SimpleNamespace

import numpy as np
import pytest

from tiny_bev_ros.sim import street, street_plan
from tiny_bev_ros.sim.world.parts import TUBE
from tiny_bev_ros.sim.world.vehicle_kinds import REGIONS

STREETS = 40


@pytest.fixture(scope='module')
def streets():
    """Objects of all streets, their angles off the axes of the street, slim things, parts."""
    objects, off_axis, slim, parts = [], [], 0, 0
    for seed in range(STREETS):
        scene, plan = street(seed), street_plan(seed)
        objects.append(scene.objects)
        slope = np.arctan(2 * plan.bend * scene.objects['position'][:, 0])
        turned = scene.objects['yaw'] - slope
        off_axis.append(np.degrees(np.abs((turned + np.pi / 4) % (np.pi / 2) - np.pi / 4)))
        size = scene.parts['size']
        posts = (scene.parts['kind'] == TUBE) & (scene.parts['instance_id'] < 0)
        slim += (posts & (size[:, 0] < 0.6) & (size[:, 2] > 0.7) & (size[:, 2] < 1.5)).sum()
        parts += len(scene.parts)
    return SimpleNamespace(
        objects=np.concatenate(objects),
        off_axis=np.concatenate(off_axis),
        slim=slim / STREETS,
        parts=parts / STREETS,
    )


def sizes_of(streets, label):
    """(3,3) 10, 50 and 90 % percentiles of length, width and height."""
    objects = streets.objects
    return np.percentile(objects['size'][objects['label'] == label], [10, 50, 90], axis=0)


def test_vehicles_are_those_of_several_regions(streets):
    low, middle, high = sizes_of(streets, 0)
    # KITTI has 3.88 x 1.63 x 1.53 m on average, Argoverse 2 4.26 x 1.89 x 1.77 m.
    assert 4.0 < middle[0] < 4.6
    assert 1.65 < middle[1] < 1.85
    assert 1.48 < middle[2] < 1.65
    assert low[0] < 3.6
    assert high[0] > 5.1
    assert {street_plan(seed).region for seed in range(STREETS)} == set(REGIONS)


def test_some_vehicles_are_oblique(streets):
    vehicles = streets.objects['label'] == 0
    assert 0.12 < (streets.off_axis[vehicles] > 20).mean() < 0.28


def test_people_stride(streets):
    low, middle, high = sizes_of(streets, 1)
    # KITTI's walkers are 1.03 x 0.56 x 1.75 m; some people here stand.
    assert low[0] >= 0.5
    assert 0.8 < middle[0] < 1.05
    assert 1.05 < high[0] < 1.35
    assert 0.55 < middle[1] < 0.7
    assert 1.65 < middle[2] < 1.8


def test_all_classes_are_met_and_things_of_none(streets):
    labels = streets.objects['label']
    vehicles, people, cyclists, others = ((labels == k).sum() / STREETS for k in (0, 1, 2, -1))
    assert vehicles > 30
    assert people > 8
    assert cyclists > 1.5
    # Trailers, and bicycles that someone pushes.
    assert 0.5 < others < 3


def test_many_things_are_as_slim_as_people(streets):
    assert streets.slim > 8


def test_streets_stay_cheap_to_scan(streets):
    assert streets.parts < 3200
