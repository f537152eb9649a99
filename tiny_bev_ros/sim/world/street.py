# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Random streets: in a town, a suburb, the country, or past a car park.

The road runs along x, bends a little, and is centred near y = 0. Traffic keeps to the right.
Each side is drawn on its own: lanes, parked cars, kerbs, fronts, vegetation, banks and
ditches.
"""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.sim.world.ground import make_terrain
from tiny_bev_ros.sim.world.plan import Plan, ego_pose, make_plan
from tiny_bev_ros.sim.world.premises import Premises
from tiny_bev_ros.sim.world.scene import OBJECT, Scene


def street(seed: int = 0) -> Scene:
    """Makes a street of 180 m, clear around x = 0 where a drive begins.

    Args:
        seed: seed of the street; equal seeds give equal streets.

    Returns:
        The scene at time 0. Within 3 s nothing runs into an ego vehicle that drives at 8 m/s
        along `ego_pose`.
    """
    random = np.random.default_rng(seed)
    plan = make_plan(random)
    return _Street(random, plan, make_terrain(random, plan)).scene()


def street_plan(seed: int) -> Plan:
    """Returns the plan of `street(seed)`."""
    return make_plan(np.random.default_rng(seed))


class _Street(Premises):
    """Street filled group by group."""

    def scene(self) -> Scene:
        # Keeps the lane of the drive clear.
        for x in np.arange(-4.0, 32.0, 2.0):
            self.reserve(*ego_pose(self.plan, float(x))[:2], 1.6)
        self.add_traffic()
        for side in (self.plan.left, self.plan.right):
            self.add_parked(side)
            self.add_pavement(side)
            self.add_premises(side)
        objects = np.array(self.objects, OBJECT)
        return Scene(self.terrain, self.parts.array(), objects)
