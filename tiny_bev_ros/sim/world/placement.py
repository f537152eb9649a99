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

import numpy as np

from tiny_bev_ros.sim.world import traffic
from tiny_bev_ros.sim.world.parts import PartList, Pose
from tiny_bev_ros.sim.world.plan import Plan
from tiny_bev_ros.sim.world.scene import CLASSES
from tiny_bev_ros.sim.world.terrain import Terrain

_VEHICLE, _PEDESTRIAN, _CYCLIST = range(len(CLASSES))
# Adds the parts of a thing and returns its length, width and height.
_Build = Callable[[PartList, np.random.Generator, Pose, int], tuple[float, float, float]]


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
        self._taken, self._count = np.empty((8192, 3)), 0

    def try_reserve(self, x: float, y: float, radius: float) -> bool:
        """Reserves a position; returns False where it is taken already."""
        if self.is_taken(x, y, radius):
            return False
        self.reserve(x, y, radius)
        return True

    def reserve(self, x: float, y: float, radius: float) -> None:
        """Reserves a position, taken or not."""
        self._taken[self._count] = x, y, radius
        self._count += 1

    def is_taken(self, x: float, y: float, radius: float) -> bool:
        """Returns True if something stands within a radius of a position."""
        others = self._taken[: self._count]
        square = (others[:, 0] - x) ** 2 + (others[:, 1] - y) ** 2
        return bool((square < (others[:, 2] + radius) ** 2).any())

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
        up = pose.rotation()[:, 2] * (size[2] / 2)
        position = (pose.x + up[0], pose.y + up[1], pose.z + up[2])
        velocity = (math.cos(pose.yaw) * speed, math.sin(pose.yaw) * speed)
        self.objects.append((label, position, size, pose.yaw, velocity))

    def vehicle(self, pose: Pose, speed: float = 0.0, large: float = 0.04) -> None:
        """Adds a vehicle, unless the position is taken."""
        draw = self.random.random()
        build, length = traffic.car, 4.6
        if draw < large:
            build, length = (
                (traffic.truck, 11.0) if self.random.random() < 0.7 else (traffic.bus, 12.2)
            )
        elif draw < large + 0.13:
            build, length = traffic.van, 5.8
        along = np.linspace(-0.5, 0.5, 2 + round(length / 3)) * (length - 2)
        positions = [
            (pose.x + math.cos(pose.yaw) * far, pose.y + math.sin(pose.yaw) * far) for far in along
        ]
        if any(self.is_taken(x, y, 1.2) for x, y in positions):
            return
        for x, y in positions:
            self.reserve(x, y, 1.2)
        self.add(build, _VEHICLE, self.leaning(pose), speed)

    def person(self, pose: Pose, speed: float) -> None:
        """Adds a pedestrian, unless the position is taken."""
        if self.try_reserve(pose.x, pose.y, 0.35):
            self.add(traffic.pedestrian, _PEDESTRIAN, pose, speed)

    def cyclist(self, pose: Pose, speed: float) -> None:
        """Adds a cyclist, unless the position is taken."""
        if self.try_reserve(pose.x, pose.y, 0.9):
            self.add(traffic.cyclist, _CYCLIST, pose, speed)
