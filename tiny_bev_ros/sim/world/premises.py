# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Houses, gardens, car parks and woods beyond the pavements of a street."""

from __future__ import annotations

import math

import numpy as np

from tiny_bev_ros.sim.world import surroundings
from tiny_bev_ros.sim.world.clutter import clutter
from tiny_bev_ros.sim.world.parts import Pose
from tiny_bev_ros.sim.world.pavements import Pavements
from tiny_bev_ros.sim.world.plan import BEGIN, END, Side


class Premises(Pavements):
    """Street whose premises are filled."""

    def add_premises(self, side: Side) -> None:
        """Adds a car park, or houses with gardens, and the land behind."""
        if side.open:
            self._car_park(side)
        else:
            self._fronts(side)
        self._beyond(side)

    def _fronts(self, side: Side) -> None:
        """Adds houses with gardens."""
        random, plan = self.random, self.plan
        houses = {'town': 0.95, 'suburb': 0.8, 'country': 0.12, 'car park': 0.7}[plan.kind]
        x = BEGIN + random.uniform(0, 8)
        while x < END:
            length = random.uniform(7, 22)
            if self._meets_side_road(side, x, 1) or self._meets_side_road(side, x + length, 1):
                x += 2
                continue
            if self._meets_side_road(side, x + length / 2, length / 2):
                x += length
                continue
            middle = x + length / 2
            back = side.house + random.choice([0.0, 0.0, 1.0, 3.0])
            if random.random() < houses:
                yaw = 0.0 if side.sign > 0 else math.pi
                if side.setback > 3:
                    yaw += random.normal(0, 0.08)
                pose = self.stand(middle, side.sign * back, yaw)
                depth = random.uniform(7, 14)
                surroundings.house(self.parts, random, pose, length, depth)
                self._reserve_house(pose, length, depth)
            if back > side.front + 2.5:
                self._garden(side, x, x + length, back)
            gap = random.choice([0.0, random.uniform(1.5, 4), random.uniform(4, 12)])
            if gap > 2:
                self._garden(side, x + length, x + length + gap, back + 8)
            x += length + gap

    def _reserve_house(self, pose: Pose, length: float, depth: float) -> None:
        """Reserves the ground of a house: a row of circles at its front, larger ones inside."""
        for radius, back in ((2.5, 2.3), (depth / 2, depth / 2)):
            reach = max(length / 2 - radius, 0.0)
            for along in np.linspace(-reach, reach, 1 + math.ceil(reach / radius)):
                middle = self.beside(self.ahead(pose, float(along)), back)
                self.reserve(middle.x, middle.y, radius)

    def _meets_side_road(self, side: Side, x: float, margin: float) -> bool:
        """Returns True if a side road lies within a margin of x, where houses stand."""
        offsets = (side.front, side.house + 3.0, side.house + 10.0)
        return any(self.plan.in_crossing(x, margin, side.sign * each) for each in offsets)

    def _garden(self, side: Side, begin: float, end: float, back: float) -> None:
        """Adds a garden between pavement and house: a border, plants, perhaps a parked car."""
        random = self.random
        length, middle = end - begin, (begin + end) / 2
        if self._meets_side_road(side, middle, length / 2 + 0.5):
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
            oblique = random.choice([-1, 1]) * random.uniform(0.35, 1.0)
            yaw = random.choice([-1, 1]) * math.pi / 2 + random.normal(0, 0.06)
            yaw += oblique if random.random() < 0.25 else 0.0
            offset = side.sign * (side.front + random.uniform(2.5, back - side.front - 2.4))
            pose = self.stand(middle - math.copysign(length / 2 - 1.8, shift), offset, yaw)
            self.vehicle(pose, large=0.0)
        elif back - side.front > 6 and random.random() < 0.14:  # a car in a yard
            offset = side.sign * random.uniform(side.front + 3.0, back - 3.0)
            self.vehicle(self.stand(middle, offset, random.uniform(0, 6.3)), large=0.05)
        for _ in range(random.poisson(length * random.choice([0.4, 1.0, 1.7]))):
            offset = side.sign * random.uniform(side.front + 0.8, back - 0.5)
            pose = self.stand(random.uniform(begin, end), offset, random.uniform(0, 6))
            draw = random.random()
            low = draw > 0.55
            if not self.try_reserve(pose.x, pose.y, 0.45 if low else 0.7):
                continue
            if draw < 0.35:
                surroundings.bush(self.parts, random, pose)
            elif draw < 0.5:
                surroundings.tree(self.parts, random, pose)
            elif low and draw < 0.88:
                surroundings.shrubs(self.parts, random, pose)
            else:
                clutter(self.parts, random, pose)

    def _car_park(self, side: Side) -> None:
        """Adds rows of cars, perhaps turned against the road or parked at an angle."""
        random = self.random
        begin, end = random.uniform(BEGIN, 0), random.uniform(20, END)
        fill = random.uniform(0.3, 0.95)
        turn = (
            random.choice([-1, 1]) * random.uniform(0.35, 0.8) if random.random() < 0.12 else 0.0
        )
        middle, centre = (begin + end) / 2, side.front + 20.0
        cos, sin = math.cos(turn), math.sin(turn)
        for row in range(-3, 9) if turn else range(random.integers(2, 6)):
            # Pairs of rows back to back, aisles of 6 m between them.
            out = side.front + 3.2 + (row // 2) * 16.5 + (row % 2) * 11
            slant = random.choice([-0.6, 0.6]) if random.random() < 0.22 else 0.0
            for along in np.arange(begin, end, random.uniform(2.5, 2.9) / math.cos(slant)):
                if random.random() > fill:
                    continue
                x = middle + cos * (along - middle) - sin * (out - centre)
                offset = centre + sin * (along - middle) + cos * (out - centre)
                offset += random.normal(0, 0.25)
                if not side.front + 3 < offset < 45 or not begin <= x <= end:
                    continue
                if self.plan.in_crossing(x, 4, side.sign * offset):
                    continue
                yaw = random.choice([-1, 1]) * math.pi / 2 + random.normal(0, 0.04)
                pose = self.stand(float(x), side.sign * offset, yaw + side.sign * turn + slant)
                self.vehicle(pose, large=0.0)
        for _ in range(random.poisson(4)):
            offset = side.sign * (side.front + random.uniform(6, 40))
            pose = self.stand(random.uniform(begin, end), offset, random.uniform(0, 6))
            self.person(pose, 0.0)

    def _beyond(self, side: Side) -> None:
        """Adds vegetation, clutter and parked vehicles farther from the road."""
        random, plan = self.random, self.plan
        usual = {'town': 30, 'suburb': 50, 'country': 80, 'car park': 40}[plan.kind]
        green = usual * random.uniform(0.2, 1.6)
        for _ in range(random.poisson(green)):
            near = side.front + 1.0 if plan.kind == 'country' else side.house + 6
            offset = side.sign * (near + random.exponential(9.0))
            x = random.uniform(BEGIN + 10, 80)
            pose = self.stand(x, offset, random.uniform(0, 6))
            if plan.in_crossing(x, 1, offset) or not self.try_reserve(pose.x, pose.y, 0.8):
                continue
            draw = random.random()
            if draw < 0.4:
                surroundings.tree(self.parts, random, pose)
            elif draw < 0.75:
                surroundings.bush(self.parts, random, pose)
            else:
                surroundings.shrubs(self.parts, random, pose)
        for _ in range(random.poisson(1.5)):
            offset = side.sign * (side.front + random.exponential(12.0) + 2)
            x = random.uniform(-45, 60)
            pose = self.stand(x, offset, random.uniform(0, 6))
            if not plan.in_crossing(x, 2, offset) and self.try_reserve(pose.x, pose.y, 1.5):
                clutter(self.parts, random, pose)
        for _ in range(random.poisson(0.4)):
            offset = side.sign * (side.front + random.uniform(4, 22))
            pose = self.stand(random.uniform(-30, 50), offset, random.uniform(0, 6.3))
            self.vehicle(pose, large=0.1)
        if plan.kind == 'country' and random.random() < 0.4:
            build = surroundings.hedge if random.random() < 0.5 else surroundings.fence
            offset = side.sign * (side.front + random.uniform(1, 6))
            for x in np.arange(BEGIN, END, 12.0):
                if not plan.in_crossing(float(x), 7, offset):
                    build(self.parts, random, self.stand(float(x), offset), 12.0)
