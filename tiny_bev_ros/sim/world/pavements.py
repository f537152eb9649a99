# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""People, plants and furniture between the road and the fronts of a street."""

from __future__ import annotations

import math

import numpy as np

from tiny_bev_ros.sim.world import clutter, surroundings, two_wheelers
from tiny_bev_ros.sim.world.parts import Pose
from tiny_bev_ros.sim.world.plan import BEGIN, END, Side
from tiny_bev_ros.sim.world.road_users import RoadUsers


class Pavements(RoadUsers):
    """Street whose pavements or verges are filled with people, poles and plants."""

    def add_pavement(self, side: Side) -> None:
        """Adds all that stands on the pavement of one side, or beside a road without one."""
        random = self.random
        self._kerbside(side)
        self._posts(side)
        if side.pavement == 0:
            if random.random() < 0.35:
                self._guard_rail(side)
            return
        self._people(side)
        for _ in range(random.poisson(4.0)):
            yaw = random.choice([0, math.pi / 2]) + random.normal(0, 0.2)
            offset = side.sign * (side.road + random.uniform(0.5, side.pavement + 1))
            pose = self.stand(random.uniform(-45, 60), offset, yaw)
            if self.try_reserve(pose.x, pose.y, 1.2):
                clutter.clutter(self.parts, random, pose)
        if random.random() < 0.5:
            self._bicycles(side)
        if random.random() < 0.25:
            self._bench(side)

    def _kerbside(self, side: Side) -> None:
        """Adds trees, poles and low plants."""
        random, edge = self.random, side.road + 0.5
        far = random.uniform(0.5, 4) if side.pavement == 0 else 0.2
        if random.random() < 0.5:
            for x in np.arange(BEGIN, END, random.uniform(6, 20)):
                pose = self.stand(float(x) + random.uniform(-1.5, 1.5), side.sign * (edge + far))
                if self._is_blocked(pose, side, 1) or random.random() < 0.15:
                    continue
                if self.try_reserve(pose.x, pose.y, 0.4):
                    surroundings.tree(self.parts, random, pose)
                    if side.pavement > 0 and random.random() < 0.15:  # someone under the tree
                        yaw, distance = random.uniform(0, 2 * math.pi), random.uniform(0.8, 2.0)
                        self.person(self.ahead(pose.with_yaw(yaw), distance), 0.0)
        for x in np.arange(BEGIN, END, random.uniform(6, 30)):
            offset = side.sign * (edge + random.uniform(-0.1, 0.3))
            pose = self.stand(float(x) + random.uniform(-3, 3), offset)
            if not self._is_blocked(pose, side, 0.5) and self.try_reserve(pose.x, pose.y, 0.3):
                surroundings.pole(self.parts, random, pose)
        green = random.choice([0.0, 8.0, 30.0]) * (2.0 if side.pavement == 0 else 1.0)
        for _ in range(random.poisson(green)):
            offset = side.sign * (edge + far + random.normal(0, 0.3))
            pose = self.stand(random.uniform(-45, 70), offset, random.uniform(0, 6))
            if not self._is_blocked(pose, side, 1) and self.try_reserve(pose.x, pose.y, 0.6):
                surroundings.shrubs(self.parts, random, pose)

    def _posts(self, side: Side) -> None:
        """Adds rows of bollards, and single things that are as slim as a person."""
        random = self.random
        if random.random() < 0.4:
            country = side.pavement == 0
            begin = random.uniform(-50, 20)
            spacing = random.uniform(10, 25) if country else random.uniform(1.2, 4.0)
            high, edge = random.uniform(0.8, 1.4), random.uniform(0.3, 0.8)
            for i in range(random.integers(4, 20)):
                pose = self.stand(begin + i * spacing, side.sign * (side.road + edge))
                if self._is_blocked(pose, side, 0.5) or pose.x > END:
                    continue
                if self.try_reserve(pose.x, pose.y, 0.15):
                    clutter.bollard(self.parts, random, pose, high)
        for _ in range(random.poisson(4.0 if side.pavement > 0 else 1.0)):
            offset = side.sign * (side.road + random.uniform(0.4, side.pavement + 1.0))
            pose = self.stand(random.uniform(-45, 60), offset, random.uniform(0, 6))
            if not self._is_blocked(pose, side, 0.5) and self.try_reserve(pose.x, pose.y, 0.35):
                clutter.post(self.parts, random, pose)

    def _is_blocked(self, pose: Pose, side: Side, margin: float) -> bool:
        return self.plan.in_crossing(pose.x, margin, side.sign * side.road)

    def _guard_rail(self, side: Side) -> None:
        begin, end = np.sort(self.random.uniform(BEGIN, END, 2))
        for x in np.arange(begin, end, 8.0):
            pose = self.stand(float(x), side.sign * (side.road + 0.5))
            if not self._is_blocked(pose, side, 5):
                surroundings.guard_rail(self.parts, self.random, pose, 8.0)

    def _people(self, side: Side) -> None:
        random = self.random
        for _ in range(random.poisson(random.choice([1.0, 4.0, 12.0]))):
            along = random.random() < 0.75
            yaw = random.choice([0, math.pi]) + random.normal(0, 0.3)
            yaw = yaw if along else random.uniform(0, 2 * math.pi)
            offset = side.sign * (side.road + random.uniform(0.3, max(side.pavement, 1.0)))
            pose = self.stand(random.uniform(-45, 60), offset, yaw)
            self.person(pose, random.choice([0.0, 1.3, 1.3]) if along else 0.0)
            draw = random.random()
            if draw < 0.3:  # two who walk together
                self.person(self._turned(self.beside(pose, 0.75), 0.0), 0.0)
            elif draw < 0.4:  # two who talk
                self.person(self._turned(self.ahead(pose, 0.9), math.pi), 0.0)
            elif draw < 0.5:  # a bicycle nearby
                distance = random.choice([-1, 1]) * random.uniform(0.6, 1.2)
                near = self._turned(self.beside(pose, distance), random.uniform(0, 0.6))
                if self.try_reserve(near.x, near.y, 0.25):
                    two_wheelers.bicycle(self.parts, random, near, -1)
        for _ in range(random.poisson(0.6)):  # cyclists of any direction, a few across
            offset = side.sign * (side.road + random.uniform(0.3, 0.8) * side.pavement)
            yaw = random.choice([0, math.pi]) + random.normal(0, 0.15)
            yaw = yaw if random.random() < 0.75 else random.uniform(0, 2 * math.pi)
            self.cyclists(self.stand(random.uniform(-40, 55), offset, yaw), 0.0)
        for _ in range(random.poisson(0.8)):
            self._add_roof(side)

    def _add_roof(self, side: Side) -> None:
        """Adds a roof without walls, of an awning, a canopy or a balcony, and people under it."""
        random = self.random
        offset = side.sign * (side.road + max(side.pavement - 0.9, 0.8))
        pose = self.stand(random.uniform(-35, 50), offset)
        if self._is_blocked(pose, side, 2):
            return
        length, depth = random.uniform(2.0, 7.0), random.uniform(1.2, 2.6)
        for _ in range(random.integers(0, 4)):
            along, across = random.uniform(-0.5, 0.5, 2) * (length, depth)
            near = self.beside(self.ahead(pose, float(along)), float(across))
            self.person(near.with_yaw(random.uniform(0, 2 * math.pi)), 0.0)
        surroundings.canopy(self.parts, random, pose, length, depth)

    def _turned(self, pose: Pose, turn: float) -> Pose:
        return Pose(pose.x, pose.y, pose.z, pose.yaw + turn + self.random.normal(0, 0.2))

    def _bench(self, side: Side) -> None:
        """Adds a bench, mostly with people on it."""
        random = self.random
        yaw = random.choice([0.0, math.pi])
        offset = side.sign * (side.road + max(side.pavement - 0.5, 0.8))
        pose = self.stand(random.uniform(-30, 50), offset, yaw)
        if not self.try_reserve(pose.x, pose.y, 1.1):
            return
        clutter.bench(self.parts, random, pose)
        for along in (-0.5, 0.3):
            if random.random() < 0.55:
                seat = self.beside(self.ahead(pose, along), -0.15)
                self.sitting_person(Pose(seat.x, seat.y, pose.z, seat.yaw - math.pi / 2))

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
                two_wheelers.bicycle(self.parts, random, pose, -1)
