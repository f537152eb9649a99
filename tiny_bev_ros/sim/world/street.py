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

import math

import numpy as np

from tiny_bev_ros.sim.world import surroundings, traffic
from tiny_bev_ros.sim.world.clutter import clutter
from tiny_bev_ros.sim.world.ground import make_terrain
from tiny_bev_ros.sim.world.parts import Pose
from tiny_bev_ros.sim.world.plan import BEGIN, END, Plan, Side, ego_pose, make_plan
from tiny_bev_ros.sim.world.road_users import RoadUsers
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


class _Street(RoadUsers):
    """Street filled group by group."""

    def scene(self) -> Scene:
        # Keeps the lane of the drive clear.
        for x in np.arange(-4.0, 32.0, 2.0):
            self.reserve(*ego_pose(self.plan, float(x))[:2], 1.6)
        self.add_traffic()
        for side in (self.plan.left, self.plan.right):
            self.add_parked(side)
            self._pavement(side)
            if side.open:
                self._car_park(side)
            else:
                self._fronts(side)
            self._beyond(side)
        objects = np.array(self.objects, OBJECT)
        return Scene(self.terrain, self.parts.array(), objects)

    def _pavement(self, side: Side) -> None:
        self._kerbside(side)
        if side.pavement == 0:
            if self.random.random() < 0.35:
                self._guard_rail(side)
            return
        self._people(side)
        for _ in range(self.random.poisson(2.0)):
            yaw = self.random.choice([0, math.pi / 2]) + self.random.normal(0, 0.2)
            offset = side.sign * (side.road + self.random.uniform(0.5, side.pavement + 1))
            pose = self.stand(self.random.uniform(-45, 60), offset, yaw)
            if self.try_reserve(pose.x, pose.y, 1.2):
                clutter(self.parts, self.random, pose)
        if self.random.random() < 0.4:
            self._bicycles(side)

    def _kerbside(self, side: Side) -> None:
        """Adds trees and poles."""
        random, edge = self.random, side.road + 0.5
        far = random.uniform(0.5, 4) if side.pavement == 0 else 0.2
        if random.random() < 0.5:
            for x in np.arange(BEGIN, END, random.uniform(6, 20)):
                pose = self.stand(float(x) + random.uniform(-1.5, 1.5), side.sign * (edge + far))
                if self.plan.in_crossing(pose.x, 1) or random.random() < 0.15:
                    continue
                if self.try_reserve(pose.x, pose.y, 0.4):
                    surroundings.tree(self.parts, random, pose)
        for x in np.arange(BEGIN, END, random.uniform(6, 30)):
            offset = side.sign * (edge + random.uniform(-0.1, 0.3))
            pose = self.stand(float(x) + random.uniform(-3, 3), offset)
            if not self.plan.in_crossing(pose.x, 0.5) and self.try_reserve(pose.x, pose.y, 0.3):
                surroundings.pole(self.parts, random, pose)

    def _guard_rail(self, side: Side) -> None:
        begin, end = np.sort(self.random.uniform(BEGIN, END, 2))
        for x in np.arange(begin, end, 8.0):
            if not self.plan.in_crossing(float(x), 5):
                pose = self.stand(float(x), side.sign * (side.road + 0.5))
                surroundings.guard_rail(self.parts, self.random, pose, 8.0)

    def _people(self, side: Side) -> None:
        random = self.random
        for _ in range(random.poisson(random.choice([1.0, 4.0, 12.0]))):
            yaw = random.choice([0, math.pi]) + random.normal(0, 0.3)
            offset = side.sign * (side.road + random.uniform(0.3, max(side.pavement, 1.0)))
            pose = self.stand(random.uniform(-45, 60), offset, yaw)
            self.person(pose, random.choice([0.0, 1.3]))
            if random.random() < 0.3:  # two who walk together
                self.person(self._beside(pose, 0.75), 0.0)
        if random.random() < 0.3:
            offset = side.sign * (side.road + side.pavement / 2)
            self.cyclist(self.stand(random.uniform(-40, 55), offset, 0.0), 0.0)

    def _beside(self, pose: Pose, distance: float) -> Pose:
        x = pose.x - math.sin(pose.yaw) * distance
        y = pose.y + math.cos(pose.yaw) * distance
        return Pose(x, y, self.terrain.height(x, y), pose.yaw + self.random.normal(0, 0.2))

    def _bicycles(self, side: Side) -> None:
        """Adds a rack of bicycles without riders."""
        random = self.random
        yaw = random.choice([0, math.pi / 2, 1.0])
        begin = random.uniform(-35, 50)
        for i in range(random.integers(1, 9)):
            pose = self.stand(
                begin + 0.55 * i,
                side.sign * (side.road + max(side.pavement - 0.9, 0.8)),
                yaw + random.normal(0, 0.1),
            )
            if self.try_reserve(pose.x, pose.y, 0.25):
                traffic.bicycle(self.parts, random, pose, -1)

    def _fronts(self, side: Side) -> None:
        """Adds houses with gardens."""
        random, plan = self.random, self.plan
        houses = {'town': 0.92, 'suburb': 0.75, 'country': 0.06, 'car park': 0.5}[plan.kind]
        x = BEGIN + random.uniform(0, 8)
        while x < END:
            length = random.uniform(7, 22)
            if plan.in_crossing(x, 1) or plan.in_crossing(x + length, 1):
                x += 2
                continue
            if plan.in_crossing(x + length / 2, length / 2):
                x += length
                continue
            middle = x + length / 2
            back = side.house + random.choice([0.0, 0.0, 1.0, 3.0])
            if random.random() < houses:
                pose = self.stand(middle, side.sign * back, 0.0 if side.sign > 0 else math.pi)
                surroundings.house(self.parts, random, pose, length, random.uniform(7, 14))
            if back > side.front + 2.5:
                self._garden(side, x, x + length, back)
            gap = random.choice([0.0, random.uniform(2, 4), random.uniform(4, 14)])
            if gap > 2:
                self._garden(side, x + length, x + length + gap, back + 8)
            x += length + gap

    def _garden(self, side: Side, begin: float, end: float, back: float) -> None:
        """Adds a garden between pavement and house: a border, plants, perhaps a parked car."""
        random = self.random
        length, middle = end - begin, (begin + end) / 2
        if self.plan.in_crossing(middle, length / 2 + 0.5):
            return
        drive = random.random() < 0.4 and back - side.front > 5.2 and length > 5
        border = length - 3.5 if drive else length
        shift = (length - border) / 2 * random.choice([-1, 1])
        pose = self.stand(middle + shift, side.sign * (side.front + 0.3))
        borders = (surroundings.wall, surroundings.hedge, surroundings.fence)
        kind = random.integers(-1, len(borders))
        if kind >= 0 and border > 1:
            borders[kind](self.parts, random, pose, border)
        if drive:
            yaw = random.choice([-1, 1]) * math.pi / 2 + random.normal(0, 0.06)
            offset = side.sign * (side.front + random.uniform(2.5, back - side.front - 2.4))
            pose = self.stand(middle - math.copysign(length / 2 - 1.8, shift), offset, yaw)
            self.vehicle(pose, large=0.0)
        for _ in range(random.poisson(length * random.choice([0.1, 0.25, 0.6]))):
            offset = side.sign * random.uniform(side.front + 0.8, back - 0.5)
            pose = self.stand(random.uniform(begin, end), offset, random.uniform(0, 6))
            if not self.try_reserve(pose.x, pose.y, 0.9):
                continue
            draw = random.random()
            if draw < 0.62:
                surroundings.bush(self.parts, random, pose)
            elif draw < 0.82:
                surroundings.tree(self.parts, random, pose)
            else:
                clutter(self.parts, random, pose)

    def _car_park(self, side: Side) -> None:
        random = self.random
        begin, end = random.uniform(BEGIN, 0), random.uniform(20, END)
        fill = random.uniform(0.3, 0.95)
        for row in range(random.integers(2, 6)):
            # Pairs of rows back to back, aisles of 6 m between them.
            offset = side.front + 3.2 + (row // 2) * 16.5 + (row % 2) * 11
            if offset > 45:
                break
            for x in np.arange(begin, end, random.uniform(2.5, 2.8)):
                if random.random() > fill or self.plan.in_crossing(float(x), 4):
                    continue
                yaw = random.choice([-1, 1]) * math.pi / 2 + random.normal(0, 0.04)
                pose = self.stand(float(x), side.sign * (offset + random.normal(0, 0.25)), yaw)
                self.vehicle(pose, large=0.0)
        for _ in range(random.poisson(3)):
            offset = side.sign * (side.front + random.uniform(6, 40))
            pose = self.stand(random.uniform(begin, end), offset, random.uniform(0, 6))
            self.person(pose, 0.0)

    def _beyond(self, side: Side) -> None:
        """Adds vegetation and clutter farther from the road."""
        random, plan = self.random, self.plan
        usual = {'town': 12, 'suburb': 35, 'country': 70, 'car park': 20}[plan.kind]
        green = usual * random.uniform(0.2, 1.6)
        for _ in range(random.poisson(green)):
            near = side.front + 1.0 if plan.kind == 'country' else side.house + 6
            offset = side.sign * (near + random.exponential(9.0))
            pose = self.stand(random.uniform(BEGIN + 10, 80), offset, random.uniform(0, 6))
            if plan.in_crossing(pose.x, 1) or not self.try_reserve(pose.x, pose.y, 0.8):
                continue
            if random.random() < 0.45:
                surroundings.tree(self.parts, random, pose)
            else:
                surroundings.bush(self.parts, random, pose)
        for _ in range(random.poisson(1.5)):
            offset = side.sign * (side.front + random.exponential(12.0) + 2)
            pose = self.stand(random.uniform(-45, 60), offset, random.uniform(0, 6))
            if not plan.in_crossing(pose.x, 2) and self.try_reserve(pose.x, pose.y, 1.5):
                clutter(self.parts, random, pose)
        if plan.kind == 'country' and random.random() < 0.4:
            build = surroundings.hedge if random.random() < 0.5 else surroundings.fence
            offset = side.sign * (side.front + random.uniform(1, 6))
            for x in np.arange(BEGIN, END, 12.0):
                if not plan.in_crossing(float(x), 7):
                    build(self.parts, random, self.stand(float(x), offset), 12.0)
