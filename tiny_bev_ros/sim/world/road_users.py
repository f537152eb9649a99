# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Traffic and parked cars on the road of a street."""

from __future__ import annotations

import math

from tiny_bev_ros.sim.world.parts import Pose
from tiny_bev_ros.sim.world.placement import Placement
from tiny_bev_ros.sim.world.plan import BEGIN, END, Crossing, Side


class RoadUsers(Placement):
    """Street whose road is filled with traffic and parked cars."""

    def add_traffic(self) -> None:
        """Adds moving vehicles, those of side roads, cyclists and people who cross the road."""
        random, plan = self.random, self.plan
        self._add_lanes(random.uniform(6, 60))
        for crossing in plan.crossings:
            self._add_side_road(crossing)
        for _ in range(random.integers(0, 5)):
            sign = random.choice([-1, 1])
            offset = sign * (plan.lane - random.uniform(0.2, 0.9))
            yaw = (math.pi if sign > 0 else 0.0) + random.normal(0, 0.08)
            self.cyclists(self.stand(random.uniform(-40, 55), offset, yaw), 4.0)
        for _ in range(random.poisson(0.7)):  # cyclists who cross the road, turn or wait
            offset = random.uniform(-1, 1) * (plan.lane + 2)
            yaw = random.uniform(0, 2 * math.pi)
            self.cyclists(self.stand(random.uniform(8, 50), offset, yaw), 0.0)
        if random.random() < 0.35:  # people who cross the road
            for _ in range(random.integers(1, 4)):
                pose = self.stand(
                    random.uniform(6, 50),
                    random.uniform(-plan.lane, plan.lane),
                    random.choice([-1, 1]) * math.pi / 2 + random.normal(0, 0.3),
                )
                self.person(pose, 0.0)

    def _add_lanes(self, busy: float) -> None:
        """Adds vehicles to the lanes; they keep distances of some ``busy`` metres."""
        random, plan = self.random, self.plan
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

    def _add_side_road(self, crossing: Crossing) -> None:
        """Adds vehicles that wait or are parked in a side road, and such as turn."""
        random, plan = self.random, self.plan
        for side in (plan.left, plan.right):
            for _ in range(random.integers(0, 3)):
                pose = self._in_side_road(
                    crossing, side.sign * (side.road + random.uniform(4, 32))
                )
                self.vehicle(pose)
        for _ in range(random.poisson(1.4)):  # vehicles that turn
            offset = random.uniform(-1.2, 1.2) * (plan.lane + 3)
            x = crossing.x + crossing.skew * offset + random.uniform(-0.4, 0.4) * crossing.width
            yaw = random.uniform(0, 2 * math.pi)
            # Clear of the drive of 3 s.
            if x > 14 or abs(offset) > plan.lane + 1:
                self.vehicle(self.stand(x, offset, yaw), large=0.02)
        if random.random() < 0.3:
            sign = random.choice([-1, 1])
            offset = sign * (plan.lane + random.uniform(2, 12))
            self.cyclist(self._in_side_road(crossing, offset), 0.0)

    def _in_side_road(self, crossing: Crossing, offset: float) -> Pose:
        random = self.random
        yaw = crossing.heading + random.choice([0, math.pi]) + random.normal(0, 0.06)
        x = crossing.x + crossing.skew * offset + random.choice([-1, 1]) * crossing.width / 4
        return self.stand(x, offset, yaw)

    def add_parked(self, side: Side) -> None:
        """Adds parked cars along one side, and a few that leave or enter the road."""
        random = self.random
        for _ in range(random.poisson(0.5)):
            x, sign = random.uniform(-45, 60), random.choice([-1, 1])
            yaw = sign * random.uniform(0.4, 1.2) + random.choice([0.0, math.pi])
            offset = min(side.road + random.uniform(-0.8, 2.5), side.house - 2.4)
            pose = self.stand(x, side.sign * offset, yaw)
            self.vehicle(pose, large=0.0)
        if side.parking == 'none':
            return
        along = side.parking == 'parallel'
        depth, least, most = (2.2, 5.3, 6.6) if along else (5.2, 2.5, 2.9)
        if self.plan.region == 'North America':
            least, most = (least + 0.8, most + 0.8) if along else (least + 0.3, most + 0.3)
        fill = random.uniform(0.25, 0.95)
        x = BEGIN
        while x < END - 6:
            x += random.uniform(least, most) / math.sin(side.angle)
            if random.random() > fill or self.plan.in_crossing(x, 5, side.sign * side.road):
                continue
            yaw = random.choice([0.0, math.pi]) + random.normal(0, 0.03)
            offset = side.road - depth / 2 + random.normal(0, 0.12)
            if not along:
                yaw -= side.sign * side.angle
            # Some cars park with two wheels on the kerb.
            elif random.random() < 0.1:
                offset += 0.7
            pose = self.stand(x, side.sign * offset, yaw)
            self.vehicle(pose, large=0.02 if along else 0.0)
