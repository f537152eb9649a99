# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Placement of things on a street without overlap."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from tiny_bev_ros.sim.world import people, two_wheelers
from tiny_bev_ros.sim.world.parts import PartList, Pose, Size
from tiny_bev_ros.sim.world.plan import Plan
from tiny_bev_ros.sim.world.scene import CLASSES
from tiny_bev_ros.sim.world.terrain import Terrain
from tiny_bev_ros.sim.world.vehicle_kinds import TRAILER, draw_kind

_VEHICLE, _PEDESTRIAN, _CYCLIST = range(len(CLASSES))
# Label of things that move with people and cars but are of no class.
_NO_CLASS = -1
# Adds the parts of a thing and returns its length, width and height.
_Build = Callable[[PartList, np.random.Generator, Pose, int], Size]


class Placement:
    """Places things on a street where the ground is free.

    Args:
        random: generator of all draws.
        plan: plan of the street.
        terrain: ground of the street.

    Attributes:
        parts: parts of everything placed so far.
        objects: rows of OBJECT placed so far.
    """

    def __init__(self, random: np.random.Generator, plan: Plan, terrain: Terrain) -> None:
        self.random, self.plan, self.terrain = random, plan, terrain
        self.parts = PartList()
        self.objects: list[tuple] = []
        # Centre and radius of each thing placed so far, and their number.
        self._taken, self._count = np.empty((3, 8192)), 0

    def try_reserve(self, x: float, y: float, radius: float) -> bool:
        """Reserves a position; returns False where it is taken already."""
        if self.is_taken(x, y, radius):
            return False
        self.reserve(x, y, radius)
        return True

    def reserve(self, x: float, y: float, radius: float) -> None:
        """Reserves a position, taken or not."""
        self._taken[:, self._count] = x, y, radius
        self._count += 1

    def is_taken(self, x: float, y: float, radius: float) -> bool:
        """Returns True if something stands within a radius of a position."""
        other_x, other_y, others = self._taken[:, : self._count]
        square = (other_x - x) ** 2 + (other_y - y) ** 2
        return bool((square < (others + radius) ** 2).any())

    def stand(self, x: float, offset: float, yaw: float = 0.0) -> Pose:
        """Returns a pose on the ground, at an offset from the road centre line."""
        x, y, yaw = self.plan.pose(x, offset, yaw)
        return Pose(x, y, self.terrain.height(x, y), yaw)

    def leaning(self, pose: Pose) -> Pose:
        """Returns the pose with pitch and roll of the ground under it."""
        pitch, roll = self.terrain.attitude(pose.x, pose.y, pose.yaw)
        return Pose(pose.x, pose.y, pose.z, pose.yaw, pitch, roll)

    def add(self, build: _Build, label: int, pose: Pose, speed: float = 0.0) -> None:
        """Adds an object of a class, which will move straight ahead."""
        size = build(self.parts, self.random, pose, len(self.objects))
        up = [row[2] * size[2] / 2 for row in pose.rotation()]
        position = (pose.x + up[0], pose.y + up[1], pose.z + up[2])
        velocity = (math.cos(pose.yaw) * speed, math.sin(pose.yaw) * speed)
        self.objects.append((label, position, size, pose.yaw, velocity))

    def vehicle(self, pose: Pose, speed: float = 0.0, large: float = 0.04) -> None:
        """Adds a vehicle, unless the position is taken.

        A few cars draw a trailer, and beside a few that stand is someone who gets in or loads.
        """
        kind = draw_kind(self.random, self.plan.region, large)
        size = kind.draw_size(self.random)
        side = self.random.choice([-1, 1]) * (size[1] / 2 + self.random.uniform(0.3, 0.7))
        near = self.beside(self.ahead(pose, self.random.uniform(-0.5, 0.4) * size[0]), side)
        has_person = (
            not speed and self.random.random() < 0.06 and not self.is_taken(near.x, near.y, 0.3)
        )
        if not self._reserve_along(pose, size[0]):
            return
        if has_person:
            self.reserve(near.x, near.y, 0.35)
            near = near.with_yaw(self.random.uniform(0, 2 * math.pi))
            build = partial(people.pedestrian, walks=self.random.random() < 0.3)
            self.add(build, _PEDESTRIAN, near)
        self.add(partial(kind.build, size=size), _VEHICLE, self.leaning(pose), speed)
        if size[2] < 2.2 and self.random.random() < 0.03:
            load = TRAILER.draw_size(self.random)
            behind = self.ahead(pose, -(size[0] + load[0]) / 2 - 0.1)
            if self._reserve_along(self.ahead(behind, -1.0), load[0] - 1.0):
                build = partial(TRAILER.build, size=load)
                self.add(build, _NO_CLASS, self.leaning(behind), speed)

    def person(self, pose: Pose, speed: float) -> None:
        """Adds a pedestrian, unless the position is taken; some push a bicycle."""
        if not self.try_reserve(pose.x, pose.y, 0.35):
            return
        walks = speed > 0 or self.random.random() < 0.5
        pushes = walks and self.random.random() < 0.06
        build = partial(people.pedestrian, walks=walks, pushes=pushes)
        self.add(build, _PEDESTRIAN, pose, speed)
        if pushes:
            beside = self.beside(self.ahead(pose, 0.3), self.random.choice([-0.5, 0.5]))
            self.reserve(beside.x, beside.y, 0.5)
            self.add(two_wheelers.bicycle, _NO_CLASS, beside, speed)

    def sitting_person(self, pose: Pose) -> None:
        """Adds a person who sits; the seat is not added."""
        self.add(people.sitting_person, _PEDESTRIAN, pose)

    def cyclist(self, pose: Pose, speed: float) -> None:
        """Adds someone who rides a bicycle or, less often, a motorcycle, where there is room."""
        if self._reserve_all([self.ahead(pose, along) for along in (0.55, -0.55)], 0.45):
            motor = self.random.random() < 0.2
            build = two_wheelers.motorcyclist if motor else two_wheelers.cyclist
            self.add(build, _CYCLIST, self.leaning(pose), speed)

    def cyclists(self, pose: Pose, speed: float) -> None:
        """Adds a cyclist, or a group of two to four."""
        self.cyclist(pose, speed)
        if self.random.random() > 0.3:
            return
        for _ in range(self.random.integers(1, 4)):
            along, across = self.random.uniform(-3.5, 3.5), self.random.uniform(0.95, 2.0)
            near = self.beside(self.ahead(pose, along), self.random.choice([-1, 1]) * across)
            turn = self.random.normal(0, 0.15)
            # Those who move stay in their lane.
            self.cyclist(near.with_yaw(pose.yaw + (0.0 if speed else turn)), speed)

    def ahead(self, pose: Pose, distance: float) -> Pose:
        """Returns the pose on the ground some metres ahead of another, of equal heading."""
        x = pose.x + math.cos(pose.yaw) * distance
        y = pose.y + math.sin(pose.yaw) * distance
        return Pose(x, y, self.terrain.height(x, y), pose.yaw)

    def beside(self, pose: Pose, distance: float) -> Pose:
        """Returns the pose on the ground some metres to the left of another."""
        x = pose.x - math.sin(pose.yaw) * distance
        y = pose.y + math.cos(pose.yaw) * distance
        return Pose(x, y, self.terrain.height(x, y), pose.yaw)

    def _reserve_along(self, pose: Pose, length: float) -> bool:
        """Reserves the ground of a vehicle; returns False where a part of it is taken."""
        count = 2 + round(length / 3)
        positions = [self.ahead(pose, far) for far in np.linspace(-0.5, 0.5, count) * (length - 2)]
        return self._reserve_all(positions, 1.2)

    def _reserve_all(self, positions: list[Pose], radius: float) -> bool:
        """Reserves positions; returns False, without any of them, where one is taken."""
        if any(self.is_taken(each.x, each.y, radius) for each in positions):
            return False
        for each in positions:
            self.reserve(each.x, each.y, radius)
        return True
