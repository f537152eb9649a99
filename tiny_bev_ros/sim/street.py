# SPDX-License-Identifier: Apache-2.0
"""Made-up streets: in a town, a suburb, the country, or past a car park.

The road runs along x, bends a little, and is centred near y = 0. Traffic keeps to the right.
What is on either side is drawn anew for each: lanes, parked cars, kerbs, fronts, vegetation,
banks and ditches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tiny_bev_ros.sim import surroundings, traffic
from tiny_bev_ros.sim.clutter import clutter
from tiny_bev_ros.sim.parts import PartList, Pose
from tiny_bev_ros.sim.scene import CLASSES, OBJECT, Scene
from tiny_bev_ros.sim.terrain import CELL, Terrain

BEGIN, END = -70.0, 110.0
_HALF = 64.0
_VEHICLE, _PEDESTRIAN, _CYCLIST = range(len(CLASSES))
_KINDS = ('town', 'suburb', 'country', 'car park')


@dataclass(frozen=True)
class Side:
    """One side of the road; widths in metres, outward.

    Attributes:
        sign: 1 on the left, -1 on the right.
        parking: 'none', 'parallel' or 'across'.
        road: from the middle of the road to the kerb, parked cars included.
        kerb: its height, 0 for none.
        pavement: its width, 0 for none.
        setback: from the pavement to the fronts.
        bank: height of an embankment, negative for a ditch or a slope downward.
        steepness: of the bank, rise over run.
        open: a car park instead of fronts.
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
        """Where gardens begin."""
        return self.road + self.pavement

    @property
    def house(self) -> float:
        """Where houses begin."""
        return self.front + self.setback


@dataclass(frozen=True)
class Plan:
    """What a street is like, before anything stands in it.

    Attributes:
        kind: one of _KINDS.
        bend: of the middle of the road, y = bend * x**2.
        lane: half the width of what is driven on.
        lanes: in each direction.
        crossings: (x, width) of side roads.
        left, right: its sides.
    """

    kind: str
    bend: float
    lane: float
    lanes: int
    crossings: tuple[tuple[float, float], ...]
    left: Side
    right: Side

    def pose(self, x: float, offset: float, yaw: float = 0.0) -> tuple[float, float, float]:
        """x, y and yaw in the world of a place beside the middle of the road."""
        slope = math.atan(2 * self.bend * x)
        return x - offset * math.sin(slope), self.bend * x * x + offset, yaw + slope

    def in_crossing(self, x: float, margin: float) -> bool:
        """Whether a side road is there."""
        return any(abs(x - at) < width / 2 + margin for at, width in self.crossings)


def make_plan(random: np.random.Generator) -> Plan:
    """A street's plan, drawn at random."""
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


def street(seed: int = 0, plan: Plan | None = None) -> Scene:
    """A street of 180 m, open around x = 0 where a drive begins.

    Args:
        seed: the same seed gives the same street.
        plan: what it is like; None to draw one.

    Returns:
        The scene at time 0. Within 3 s nothing runs into an ego vehicle that drives at 8 m/s
        as `ego_pose` says.
    """
    random = np.random.default_rng(seed)
    drawn = make_plan(random)
    builder = _Builder(random, plan or drawn)
    return builder.scene()


def ego_pose(plan: Plan, x: float = 0.0) -> tuple[float, float, float]:
    """Where a vehicle in the right lane is that has come to x."""
    return plan.pose(x, -plan.lane / plan.lanes / 2)


def plan_of(seed: int) -> Plan:
    """The plan of `street(seed)`."""
    return make_plan(np.random.default_rng(seed))


# Adds the parts of a thing and returns its length, width and height.
_Build = Callable[[PartList, np.random.Generator, Pose, int], tuple[float, float, float]]


@dataclass
class _Builder:
    random: np.random.Generator
    plan: Plan
    parts: PartList = field(default_factory=PartList)
    objects: list[tuple] = field(default_factory=list)
    # Middle and radius of what stands already, and how many there are.
    taken: np.ndarray = field(default_factory=lambda: np.empty((8192, 3)))
    count: int = 0

    def scene(self) -> Scene:
        self.terrain = make_terrain(self.random, self.plan)
        # Nothing stands in the way of the drive.
        for x in np.arange(-4.0, 32.0, 2.0):
            self._take(*ego_pose(self.plan, float(x))[:2], 1.6)
        self._traffic()
        for side in (self.plan.left, self.plan.right):
            self._parked(side)
            self._pavement(side)
            if side.open:
                self._car_park(side)
            else:
                self._fronts(side)
            self._beyond(side)
        objects = np.array(self.objects, OBJECT)
        return Scene(self.terrain, self.parts.array(), objects)

    # Placing.

    def _free(self, x: float, y: float, radius: float) -> bool:
        """Takes a place unless something is there."""
        if self._is_taken(x, y, radius):
            return False
        self._take(x, y, radius)
        return True

    def _take(self, x: float, y: float, radius: float) -> None:
        self.taken[self.count] = x, y, radius
        self.count += 1

    def _is_taken(self, x: float, y: float, radius: float) -> bool:
        others = self.taken[: self.count]
        square = (others[:, 0] - x) ** 2 + (others[:, 1] - y) ** 2
        return bool((square < (others[:, 2] + radius) ** 2).any())

    def _stand(self, x: float, offset: float, yaw: float = 0.0) -> Pose:
        x, y, yaw = self.plan.pose(x, offset, yaw)
        return Pose(x, y, self.terrain.height(x, y), yaw)

    def _leaning(self, pose: Pose) -> Pose:
        pitch, roll = self.terrain.attitude(pose.x, pose.y, pose.yaw)
        return Pose(pose.x, pose.y, pose.z, pose.yaw, pitch, roll)

    def _add(self, build: _Build, label: int, pose: Pose, speed: float = 0.0) -> None:
        size = build(self.parts, self.random, pose, len(self.objects))
        up = pose.rotation()[:, 2] * (size[2] / 2)
        place = (pose.x + up[0], pose.y + up[1], pose.z + up[2])
        velocity = (math.cos(pose.yaw) * speed, math.sin(pose.yaw) * speed)
        self.objects.append((label, place, size, pose.yaw, velocity))

    def _vehicle(self, pose: Pose, speed: float = 0.0, large: float = 0.04) -> None:
        """A vehicle, unless something is there."""
        draw = self.random.random()
        build, length = traffic.car, 4.6
        if draw < large:
            build, length = (
                (traffic.truck, 11.0) if self.random.random() < 0.7 else (traffic.bus, 12.2)
            )
        elif draw < large + 0.13:
            build, length = traffic.van, 5.8
        along = np.linspace(-0.5, 0.5, 2 + round(length / 3)) * (length - 2)
        places = [
            (pose.x + math.cos(pose.yaw) * far, pose.y + math.sin(pose.yaw) * far) for far in along
        ]
        if any(self._is_taken(x, y, 1.2) for x, y in places):
            return
        for x, y in places:
            self._take(x, y, 1.2)
        self._add(build, _VEHICLE, self._leaning(pose), speed)

    def _person(self, pose: Pose, speed: float) -> None:
        if self._free(pose.x, pose.y, 0.35):
            self._add(traffic.pedestrian, _PEDESTRIAN, pose, speed)

    def _cyclist(self, pose: Pose, speed: float) -> None:
        if self._free(pose.x, pose.y, 0.9):
            self._add(traffic.cyclist, _CYCLIST, pose, speed)

    # On the road.

    def _traffic(self) -> None:
        random, plan = self.random, self.plan
        busy = random.uniform(6, 60)
        for lane in range(plan.lanes):
            offset = plan.lane * (lane + 0.5) / plan.lanes
            for sign, speed in ((1, random.uniform(5, 12)), (-1, random.uniform(7, 9))):
                x = BEGIN + random.uniform(0, busy)
                while x < END - 5:
                    ego = sign < 0 and -9 < x < 10
                    yaw = (math.pi if sign > 0 else 0.0) + random.normal(0, 0.03)
                    pose = self._stand(x, sign * offset + random.normal(0, 0.15), yaw)
                    if not ego:
                        # What drives ahead keeps its distance; what follows does too.
                        self._vehicle(pose, speed if sign > 0 else 8.0)
                    x += 9 + random.exponential(busy)
        for x, width in plan.crossings:
            for sign in (1, -1):
                for _ in range(random.integers(0, 3)):
                    side = plan.left if sign > 0 else plan.right
                    offset = sign * (side.road + random.uniform(4, 32))
                    yaw = random.choice([-1, 1]) * math.pi / 2 + random.normal(0, 0.06)
                    pose = self._stand(x + random.choice([-1, 1]) * width / 4, offset, yaw)
                    self._vehicle(pose)
            if random.random() < 0.15:  # one that turns in
                pose = self._stand(x, random.uniform(-2, 2), random.uniform(0, 2 * math.pi))
                if x > 14:
                    self._vehicle(pose)
        for _ in range(random.integers(0, 4)):
            sign = random.choice([-1, 1])
            offset = sign * (plan.lane - random.uniform(0.2, 0.9))
            yaw = (math.pi if sign > 0 else 0.0) + random.normal(0, 0.08)
            self._cyclist(self._stand(random.uniform(-40, 55), offset, yaw), 4.0)
        if random.random() < 0.35:  # somebody crosses the road
            for _ in range(random.integers(1, 4)):
                pose = self._stand(
                    random.uniform(6, 50),
                    random.uniform(-plan.lane, plan.lane),
                    random.choice([-1, 1]) * math.pi / 2,
                )
                self._person(pose, 0.0)

    def _parked(self, side: Side) -> None:
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
            # On the kerb with two wheels, as people do.
            if not across and random.random() < 0.1:
                offset += 0.7
            pose = self._stand(x, side.sign * offset, yaw)
            self._vehicle(pose, large=0.0 if across else 0.02)

    # Beside the road.

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
            pose = self._stand(self.random.uniform(-45, 60), offset, yaw)
            if self._free(pose.x, pose.y, 1.2):
                clutter(self.parts, self.random, pose)
        if self.random.random() < 0.4:
            self._bicycles(side)

    def _kerbside(self, side: Side) -> None:
        """Trees, and poles of all kinds."""
        random, edge = self.random, side.road + 0.5
        far = random.uniform(0.5, 4) if side.pavement == 0 else 0.2
        if random.random() < 0.5:
            for x in np.arange(BEGIN, END, random.uniform(6, 20)):
                pose = self._stand(float(x) + random.uniform(-1.5, 1.5), side.sign * (edge + far))
                if self.plan.in_crossing(pose.x, 1) or random.random() < 0.15:
                    continue
                if self._free(pose.x, pose.y, 0.4):
                    surroundings.tree(self.parts, random, pose)
        for x in np.arange(BEGIN, END, random.uniform(6, 30)):
            offset = side.sign * (edge + random.uniform(-0.1, 0.3))
            pose = self._stand(float(x) + random.uniform(-3, 3), offset)
            if not self.plan.in_crossing(pose.x, 0.5) and self._free(pose.x, pose.y, 0.3):
                surroundings.pole(self.parts, random, pose)

    def _guard_rail(self, side: Side) -> None:
        begin, end = np.sort(self.random.uniform(BEGIN, END, 2))
        for x in np.arange(begin, end, 8.0):
            if not self.plan.in_crossing(float(x), 5):
                pose = self._stand(float(x), side.sign * (side.road + 0.5))
                surroundings.guard_rail(self.parts, self.random, pose, 8.0)

    def _people(self, side: Side) -> None:
        random = self.random
        for _ in range(random.poisson(random.choice([1.0, 4.0, 12.0]))):
            yaw = random.choice([0, math.pi]) + random.normal(0, 0.3)
            offset = side.sign * (side.road + random.uniform(0.3, max(side.pavement, 1.0)))
            pose = self._stand(random.uniform(-45, 60), offset, yaw)
            self._person(pose, random.choice([0.0, 1.3]))
            if random.random() < 0.3:  # two who walk together
                self._person(self._beside(pose, 0.75), 0.0)
        if random.random() < 0.3:
            offset = side.sign * (side.road + side.pavement / 2)
            self._cyclist(self._stand(random.uniform(-40, 55), offset, 0.0), 0.0)

    def _beside(self, pose: Pose, distance: float) -> Pose:
        x = pose.x - math.sin(pose.yaw) * distance
        y = pose.y + math.cos(pose.yaw) * distance
        return Pose(x, y, self.terrain.height(x, y), pose.yaw + self.random.normal(0, 0.2))

    def _bicycles(self, side: Side) -> None:
        """A rack, which no cyclist rides in."""
        random = self.random
        yaw = random.choice([0, math.pi / 2, 1.0])
        begin = random.uniform(-35, 50)
        for i in range(random.integers(1, 9)):
            pose = self._stand(
                begin + 0.55 * i,
                side.sign * (side.road + max(side.pavement - 0.9, 0.8)),
                yaw + random.normal(0, 0.1),
            )
            if self._free(pose.x, pose.y, 0.25):
                traffic.bicycle(self.parts, random, pose, -1)

    def _fronts(self, side: Side) -> None:
        """Houses with gardens, or what is there instead of them."""
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
                pose = self._stand(middle, side.sign * back, 0.0 if side.sign > 0 else math.pi)
                surroundings.house(self.parts, random, pose, length, random.uniform(7, 14))
            if back > side.front + 2.5:
                self._garden(side, x, x + length, back)
            gap = random.choice([0.0, random.uniform(2, 4), random.uniform(4, 14)])
            if gap > 2:
                self._garden(side, x + length, x + length + gap, back + 8)
            x += length + gap

    def _garden(self, side: Side, begin: float, end: float, back: float) -> None:
        """From the pavement to a house: a border, plants, and perhaps a car before it."""
        random = self.random
        length, middle = end - begin, (begin + end) / 2
        if self.plan.in_crossing(middle, length / 2 + 0.5):
            return
        drive = random.random() < 0.4 and back - side.front > 5.2 and length > 5
        border = length - 3.5 if drive else length
        shift = (length - border) / 2 * random.choice([-1, 1])
        pose = self._stand(middle + shift, side.sign * (side.front + 0.3))
        borders = (surroundings.wall, surroundings.hedge, surroundings.fence)
        kind = random.integers(-1, len(borders))
        if kind >= 0 and border > 1:
            borders[kind](self.parts, random, pose, border)
        if drive:
            yaw = random.choice([-1, 1]) * math.pi / 2 + random.normal(0, 0.06)
            offset = side.sign * (side.front + random.uniform(2.5, back - side.front - 2.4))
            pose = self._stand(middle - math.copysign(length / 2 - 1.8, shift), offset, yaw)
            self._vehicle(pose, large=0.0)
        for _ in range(random.poisson(length * random.choice([0.1, 0.25, 0.6]))):
            offset = side.sign * random.uniform(side.front + 0.8, back - 0.5)
            pose = self._stand(random.uniform(begin, end), offset, random.uniform(0, 6))
            if not self._free(pose.x, pose.y, 0.9):
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
                pose = self._stand(float(x), side.sign * (offset + random.normal(0, 0.25)), yaw)
                self._vehicle(pose, large=0.0)
        for _ in range(random.poisson(3)):
            offset = side.sign * (side.front + random.uniform(6, 40))
            pose = self._stand(random.uniform(begin, end), offset, random.uniform(0, 6))
            self._person(pose, 0.0)

    def _beyond(self, side: Side) -> None:
        """Vegetation, and other things, farther from the road."""
        random, plan = self.random, self.plan
        usual = {'town': 12, 'suburb': 35, 'country': 70, 'car park': 20}[plan.kind]
        green = usual * random.uniform(0.2, 1.6)
        for _ in range(random.poisson(green)):
            near = side.front + 1.0 if plan.kind == 'country' else side.house + 6
            offset = side.sign * (near + random.exponential(9.0))
            pose = self._stand(random.uniform(BEGIN + 10, 80), offset, random.uniform(0, 6))
            if plan.in_crossing(pose.x, 1) or not self._free(pose.x, pose.y, 0.8):
                continue
            if random.random() < 0.45:
                surroundings.tree(self.parts, random, pose)
            else:
                surroundings.bush(self.parts, random, pose)
        for _ in range(random.poisson(1.5)):
            offset = side.sign * (side.front + random.exponential(12.0) + 2)
            pose = self._stand(random.uniform(-45, 60), offset, random.uniform(0, 6))
            if not plan.in_crossing(pose.x, 2) and self._free(pose.x, pose.y, 1.5):
                clutter(self.parts, random, pose)
        if plan.kind == 'country' and random.random() < 0.4:
            build = surroundings.hedge if random.random() < 0.5 else surroundings.fence
            offset = side.sign * (side.front + random.uniform(1, 6))
            for x in np.arange(BEGIN, END, 12.0):
                if not plan.in_crossing(float(x), 7):
                    build(self.parts, random, self._stand(float(x), offset), 12.0)


def make_terrain(random: np.random.Generator, plan: Plan) -> Terrain:
    """The ground of a street."""
    rows, cols = int(2 * _HALF / CELL), int((END - BEGIN) / CELL)
    x = (BEGIN + (np.arange(cols) + 0.5) * CELL).astype(np.float32)
    y = (-_HALF + (np.arange(rows) + 0.5) * CELL).astype(np.float32)
    offset = y[:, None] - (plan.bend * x * x).astype(np.float32)[None, :]

    wave, phase = random.uniform(40, 150), random.uniform(0, 2 * np.pi)
    profile = random.normal(0, 0.012) * x + random.uniform(0, 0.35) * np.sin(
        2 * np.pi * x / wave + phase
    )
    heights = (profile - profile[np.abs(x).argmin()])[None, :].astype(np.float32)
    heights = heights + np.float32(random.normal(0, 0.008)) * offset
    # How much of the sides there is beside a side road: 0 on it, 1 at some metres from it.
    gap = np.full(cols, 1e3, np.float32)
    for at, width in plan.crossings:
        gap = np.minimum(gap, np.abs(x - at) - np.float32(width / 2))
    asphalt, green = random.uniform(0.1, 0.28), random.uniform(0.25, 0.5)
    reflectivity = np.full((rows, cols), asphalt, np.float32)
    drivable = np.ones((rows, cols), np.bool_)
    for side in (plan.left, plan.right):
        here = slice(None, rows // 2) if side.sign < 0 else slice(rows // 2, None)
        out = offset[here] * np.float32(side.sign)
        road, front = np.float32(side.road), np.float32(side.front)
        crown = np.float32(0.015) * np.minimum(np.maximum(out, 0), road)
        # A pavement without a kerb may be driven on: to a LiDAR it is the same surface.
        edge = road if side.kerb else front
        beside = (out > edge) & (gap > 0)
        soft = (out > front) & (gap > 0)
        kerb = np.where(beside, np.float32(side.kerb), np.float32(0))
        begin = front + np.float32(random.uniform(0, 3))
        rise = np.clip((out - begin) * np.float32(side.steepness), 0, abs(side.bank))
        rise *= np.clip(gap / 5, 0, 1) * np.float32(np.sign(side.bank))
        heights[here] += kerb - crown + rise
        if side.open:
            drivable[here] &= ~beside | (out > front)
        else:
            drivable[here] &= ~beside
            rough = random.normal(0, random.uniform(0.015, 0.06), soft.shape).astype(np.float32)
            heights[here] += rough * soft
            reflectivity[here][soft] = green
        reflectivity[here][beside & ~soft] = random.uniform(0.2, 0.4)
    _paint_lanes(plan, x, offset, reflectivity)
    return Terrain((BEGIN, -_HALF), heights, reflectivity, drivable)


def _paint_lanes(plan: Plan, x: np.ndarray, offset: np.ndarray, reflectivity: np.ndarray) -> None:
    dashes = (x % 9 < 3)[None, :] & (np.abs(offset) < CELL / 2)
    reflectivity[dashes] = 0.75
