# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Plan of a street, drawn before things are placed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

# Ends of the road in metres; a drive begins at 0.
BEGIN, END = -70.0, 110.0
_KINDS = ('town', 'suburb', 'country', 'car park')


@dataclass(frozen=True)
class Side:
    """One side of the road; widths in metres, outward.

    Attributes:
        sign: 1 on the left, -1 on the right.
        parking: 'none', 'parallel' or 'across'.
        road: distance from the centre line to the kerb, parked cars included.
        kerb: height of the kerb, 0 for none.
        pavement: width of the pavement, 0 for none.
        setback: distance from the pavement to the fronts.
        bank: height of an embankment, negative for a ditch or a slope downward.
        steepness: rise over run of the bank.
        open: True for a car park instead of fronts.
    """

    sign: int
    parking: str
    road: float
    kerb: float
    pavement: float
    setback: float
    bank: float
    steepness: float
    open: bool

    @property
    def front(self) -> float:
        """Offset at which gardens begin."""
        return self.road + self.pavement

    @property
    def house(self) -> float:
        """Offset at which houses begin."""
        return self.front + self.setback


@dataclass(frozen=True)
class Plan:
    """Plan of a street: its course, lanes, side roads and sides.

    Attributes:
        kind: one of _KINDS.
        bend: curvature of the centre line, y = bend * x**2.
        lane: half the width of the driven surface.
        lanes: number of lanes in each direction.
        crossings: (x, width) of each side road.
        left, right: sides of the road.
    """

    kind: str
    bend: float
    lane: float
    lanes: int
    crossings: tuple[tuple[float, float], ...]
    left: Side
    right: Side

    def pose(self, x: float, offset: float, yaw: float = 0.0) -> tuple[float, float, float]:
        """Returns x, y and yaw in the world, at an offset from the centre line."""
        slope = math.atan(2 * self.bend * x)
        return x - offset * math.sin(slope), self.bend * x * x + offset, yaw + slope

    def in_crossing(self, x: float, margin: float) -> bool:
        """Returns True if a side road lies within a margin of x."""
        return any(abs(x - at) < width / 2 + margin for at, width in self.crossings)


def make_plan(random: np.random.Generator) -> Plan:
    """Draws the plan of a street."""
    kind = str(random.choice(_KINDS, p=[0.42, 0.3, 0.16, 0.12]))
    lanes = 2 if kind == 'town' and random.random() < 0.2 else 1
    lane = lanes * random.uniform(2.5, 3.4) if kind != 'country' else random.uniform(2.6, 4.0)
    crossings = []
    if random.random() < 0.6:
        crossings.append((random.uniform(14, 45), random.uniform(6, 12)))
    if random.random() < 0.35:
        crossings.append((random.uniform(-50, -8), random.uniform(6, 12)))
    bend = random.normal(0, 0.0006 if kind != 'country' else 0.0014)
    sides = [_make_side(random, kind, lane, sign) for sign in (1, -1)]
    return Plan(kind, bend, lane, lanes, tuple(crossings), *sides)


def _make_side(random: np.random.Generator, kind: str, lane: float, sign: int) -> Side:
    country = kind == 'country'
    parking = (
        'none'
        if country
        else str(random.choice(['none', 'parallel', 'across'], p=[0.4, 0.5, 0.1]))
    )
    strip = {'none': random.uniform(0, 0.6), 'parallel': 2.3, 'across': 5.3}[parking]
    bank = 0.0
    if random.random() < (0.65 if country else 0.2):
        bank = random.choice([1, 1, -0.6]) * random.uniform(0.4, 3.5)
    return Side(
        sign,
        parking,
        lane + strip,
        0.0 if country or random.random() < 0.1 else random.uniform(0.07, 0.16),
        0.0 if country else random.uniform(1.2, 4.5),
        random.choice([0.0, random.uniform(1, 4), random.uniform(4, 11)]),
        bank,
        random.uniform(0.15, 0.8),
        kind == 'car park' and random.random() < 0.7,
    )


def ego_pose(plan: Plan, x: float = 0.0) -> tuple[float, float, float]:
    """Returns the pose of a vehicle in the right lane that has driven to x."""
    return plan.pose(x, -plan.lane / plan.lanes / 2)
