# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Vehicles and people on the road of a street."""

from __future__ import annotations

import math

from tiny_bev_ros.sim.world.placement import Placement
from tiny_bev_ros.sim.world.plan import BEGIN, END, Side


class RoadUsers(Placement):
    """Street whose road is filled with traffic and parked cars."""

    def add_traffic(self) -> None:
        """Adds moving vehicles, those of side roads, cyclists and people who cross the road."""
        random, plan = self.random, self.plan
        busy = random.uniform(6, 60)
        for lane in range(plan.lanes):
            offset = plan.lane * (lane + 0.5) / plan.lanes
            for sign, speed in ((1, random.uniform(5, 12)), (-1, random.uniform(7, 9))):
                x = BEGIN + random.uniform(0, busy)
                while x < END - 5:
                    ego = sign < 0 and -9 < x < 10
                    yaw = (math.pi if sign > 0 else 0.0) + random.normal(0, 0.03)
                    pose = self.stand(x, sign * offset + random.normal(0, 0.15), yaw)
                    if not ego:
                        # Vehicles ahead and behind keep their distance.
                        self.vehicle(pose, speed if sign > 0 else 8.0)
                    x += 9 + random.exponential(busy)
        for x, width in plan.crossings:
            for sign in (1, -1):
                for _ in range(random.integers(0, 3)):
                    side = plan.left if sign > 0 else plan.right
                    offset = sign * (side.road + random.uniform(4, 32))
                    yaw = random.choice([-1, 1]) * math.pi / 2 + random.normal(0, 0.06)
                    pose = self.stand(x + random.choice([-1, 1]) * width / 4, offset, yaw)
                    self.vehicle(pose)
            if random.random() < 0.15:  # a vehicle that turns in
                pose = self.stand(x, random.uniform(-2, 2), random.uniform(0, 2 * math.pi))
                if x > 14:
                    self.vehicle(pose)
        for _ in range(random.integers(0, 4)):
            sign = random.choice([-1, 1])
            offset = sign * (plan.lane - random.uniform(0.2, 0.9))
            yaw = (math.pi if sign > 0 else 0.0) + random.normal(0, 0.08)
            self.cyclist(self.stand(random.uniform(-40, 55), offset, yaw), 4.0)
        if random.random() < 0.35:  # people who cross the road
            for _ in range(random.integers(1, 4)):
                pose = self.stand(
                    random.uniform(6, 50),
                    random.uniform(-plan.lane, plan.lane),
                    random.choice([-1, 1]) * math.pi / 2,
                )
                self.person(pose, 0.0)

    def add_parked(self, side: Side) -> None:
        """Adds parked cars along one side."""
        random = self.random
        if side.parking == 'none':
            return
        across = side.parking == 'across'
        fill = random.uniform(0.25, 0.95)
        x = BEGIN
        while x < END - 6:
            x += random.uniform(2.5, 2.9) if across else random.uniform(5.3, 6.6)
            if random.random() > fill or self.plan.in_crossing(x, 5):
                continue
            yaw = random.choice([0.0, math.pi]) + random.normal(0, 0.03)
            offset = side.road - (2.6 if across else 1.1) + random.normal(0, 0.12)
            if across:
                yaw += math.pi / 2
            # Some cars park with two wheels on the kerb.
            if not across and random.random() < 0.1:
                offset += 0.7
            pose = self.stand(x, side.sign * offset, yaw)
            self.vehicle(pose, large=0.0 if across else 0.02)
