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

from tiny_bev_ros.sim.world.vehicle_kinds import REGIONS

# Ends of the road in metres; a drive begins at 0.
BEGIN, END = -70.0, 110.0
_KINDS = ('town', 'suburb', 'country', 'car park')
_PARKING = ('none', 'parallel', 'across', 'angled')


@dataclass(frozen=True)
class Side:
    """One side of the road; widths in metres, outward.

    Attributes:
        sign: 1 on the left, -1 on the right.
        parking: 'none', 'parallel', 'across' or 'angled'.
        angle: angle in radians between the road and cars that park across it or angled.
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
    angle: float
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
class Crossing:
    """Side road that crosses the street, straight on both sides.

    Attributes:
        x: position at which its centre line meets that of the street, in metres.
        width: width in metres, measured along the street.
        skew: metres along the street for each metre outward to the left, 0 for a right angle.
    """

    x: float
    width: float
    skew: float

    @property
    def heading(self) -> float:
        """Heading of the side road to the left, relative to the street, in radians."""
        return math.atan2(1.0, self.skew)

    def gap(self, x: np.ndarray, offset: np.ndarray) -> np.ndarray:
        """Returns distances along the street to the edge; negative ones lie on the side road."""
        return np.abs(x - np.float32(self.x) - np.float32(self.skew) * offset) - np.float32(
            self.width / 2
        )


@dataclass(frozen=True)
class Plan:
    """Plan of a street: its course, lanes, side roads and sides.

    Attributes:
        kind: one of _KINDS.
        region: one of REGIONS, whose vehicles are met.
        bend: curvature of the centre line, y = bend * x**2.
        lane: half the width of the driven surface.
        lanes: number of lanes in each direction.
        crossings: side roads.
        left, right: sides of the road.
    """

    kind: str
    region: str
    bend: float
    lane: float
    lanes: int
    crossings: tuple[Crossing, ...]
    left: Side
    right: Side

    def pose(self, x: float, offset: float, yaw: float = 0.0) -> tuple[float, float, float]:
        """Returns x, y and yaw in the world, at an offset from the centre line."""
        slope = math.atan(2 * self.bend * x)
        return x - offset * math.sin(slope), self.bend * x * x + offset, yaw + slope

    def in_crossing(self, x: float, margin: float, offset: float = 0.0) -> bool:
        """Returns True if a side road lies within a margin of x, at an offset from the road."""
        return any(
            abs(x - each.x - each.skew * offset) < each.width / 2 + margin
            for each in self.crossings
        )


def make_plan(random: np.random.Generator) -> Plan:
    """Draws the plan of a street."""
    kind = str(random.choice(_KINDS, p=[0.42, 0.3, 0.16, 0.12]))
    region = str(random.choice(REGIONS, p=[0.5, 0.32, 0.18]))
    lanes = 2 if kind == 'town' and random.random() < 0.2 else 1
    lane = lanes * random.uniform(2.5, 3.4) if kind != 'country' else random.uniform(2.6, 4.0)
    crossings = []
    if random.random() < 0.7:
        crossings.append(_make_crossing(random, random.uniform(14, 45)))
    if random.random() < 0.45:
        crossings.append(_make_crossing(random, random.uniform(-50, -12)))
    bend = random.normal(0, 0.0006 if kind != 'country' else 0.0014)
    sides = [_make_side(random, kind, lane, sign) for sign in (1, -1)]
    return Plan(kind, region, bend, lane, lanes, tuple(crossings), *sides)


def _make_crossing(random: np.random.Generator, x: float) -> Crossing:
    oblique = random.random() < 0.35
    skew = random.choice([-1, 1]) * math.tan(random.uniform(0.3, 0.8)) if oblique else 0.0
    return Crossing(x, random.uniform(6, 12) * math.hypot(1.0, skew), float(skew))


def _make_side(random: np.random.Generator, kind: str, lane: float, sign: int) -> Side:
    country = kind == 'country'
    parking = 'none' if country else str(random.choice(_PARKING, p=[0.32, 0.52, 0.09, 0.07]))
    angle = math.radians(random.choice([45, 60, 60])) if parking == 'angled' else math.pi / 2
    strip = {'none': random.uniform(0, 0.6), 'parallel': 2.3, 'across': 5.3, 'angled': 5.2}[
        parking
    ]
    bank = 0.0
    if random.random() < (0.7 if country else 0.35):
        bank = float(random.choice([1, 1, -0.6])) * random.uniform(0.4, 3.5)
    return Side(
        sign,
        parking,
        angle,
        lane + strip,
        0.0 if country or random.random() < 0.1 else random.uniform(0.07, 0.16),
        0.0 if country else random.uniform(1.2, 4.5),
        random.choice([0.0, random.uniform(2, 5), random.uniform(5, 14), random.uniform(8, 18)]),
        bank,
        random.uniform(0.15, 0.8),
        kind == 'car park' and random.random() < 0.7,
    )


def ego_pose(plan: Plan, x: float = 0.0) -> tuple[float, float, float]:
    """Returns the pose of a vehicle in the right lane that has driven to x."""
    return plan.pose(x, -plan.lane / plan.lanes / 2)
