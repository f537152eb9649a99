# SPDX-License-Identifier: Apache-2.0
"""A made-up town street: houses, gardens, parked and moving cars, people.

The road runs along x, 8 m wide and centred on y = 0, with a parking strip and a pavement
on either side. Traffic keeps to the right, so that an ego vehicle drives at y = -2.
"""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.sim.scene import Box, Cylinder, Ground, Scene, Solid, Spheres, Surface

_LANE_Y = 2.0
EGO_Y = -_LANE_Y
_PARKING_Y = 5.2
_KERB_Y = 6.3
_HOUSE_Y = 10.0
_BEGIN, _END = -80.0, 110.0
# The side road is this wide; nothing stands in it.
_CROSSING = 11.0

_ASPHALT = Surface(0.22)
_PAINT = Surface(0.75)
_STONE = Surface(0.34)
_GLASS = Surface(0.12, dropout=0.6)
_METAL = Surface(0.45)
_SIGN = Surface(0.95)
_LEAVES = Surface(0.4, dropout=0.25)
_BARK = Surface(0.3)


def street(seed: int = 0) -> Scene:
    """A street of about 190 m, open around x = 0 where a drive begins.

    Args:
        seed: the same seed gives the same street.

    Returns:
        The scene at time 0. Within 3 s nothing runs into an ego vehicle that drives
        at 8 m/s along y = -2 from x = 0.
    """
    random = np.random.default_rng(seed)
    crossing = random.uniform(28, 45)
    solids: list[Solid] = [Ground(surface=_ASPHALT)]
    solids += _lane_marks()
    for side in (-1, 1):
        solids += _pavement(side, crossing)
        solids += _houses(random, side, crossing)
        solids += _parked(random, side, crossing)
        solids += _furniture(random, side, crossing)
        solids += _people(random, side)
    solids += _traffic(random, crossing)
    return Scene(tuple(solids))


def _in_crossing(x: float, crossing: float, margin: float) -> bool:
    return abs(x - crossing) < _CROSSING / 2 + margin


def _lane_marks() -> list[Solid]:
    """Dashes of 3 m, 6 m apart, in the range in which paint is seen."""
    return [
        Box(surface=_PAINT, centre=(x, 0.0, 0.003), size=(3.0, 0.15, 0.006))
        for x in np.arange(-40.0, 70.0, 9.0).tolist()
    ]


def _pavement(side: int, crossing: float) -> list[Solid]:
    """Kerb, pavement and the ground that the houses stand on, 12 cm above the road."""
    width = 40.0
    solids: list[Solid] = []
    corners = (crossing - _CROSSING / 2, crossing + _CROSSING / 2)
    for begin, end in ((_BEGIN, corners[0]), (corners[1], _END)):
        centre = ((begin + end) / 2, side * (_KERB_Y + width / 2), 0.06)
        solids.append(Box(surface=_STONE, centre=centre, size=(end - begin, width, 0.12)))
    return solids


def _houses(random: np.random.Generator, side: int, crossing: float) -> list[Solid]:
    solids: list[Solid] = []
    x = _BEGIN + random.uniform(0, 8)
    while x < _END:
        length = random.uniform(8, 20)
        if _in_crossing(x, crossing, 1) or _in_crossing(x + length, crossing, 1):
            x += 2
            continue
        if x < crossing < x + length:
            x = crossing + _CROSSING / 2 + 1
            continue
        wall = Surface(random.uniform(0.2, 0.55), dropout=0.05)
        front = _HOUSE_Y + random.choice([0.0, 0.0, 1.5, 4.0]) + random.uniform(0, 0.6)
        depth, height = random.uniform(8, 13), random.uniform(5, 14)
        solids.append(
            Box(
                surface=wall,
                centre=(x + length / 2, side * (front + depth / 2), height / 2),
                size=(length, depth, height),
            )
        )
        # Porches and bays break the straight line of a front.
        for _ in range(random.integers(0, 3)):
            bay = random.uniform(1.2, 3.0)
            place = x + random.uniform(bay, length - bay)
            solids.append(
                Box(
                    surface=wall,
                    centre=(place, side * front, 1.4),
                    size=(bay, random.uniform(0.6, 1.6), 2.8),
                )
            )
        if front > _HOUSE_Y + 1:
            solids += _garden(random, side, x, x + length)
        gap = random.choice([0.0, random.uniform(2, 4), random.uniform(4, 12)])
        if gap > 2:
            solids += _garden(random, side, x + length, x + length + gap)
        x += length + gap
    return solids


def _garden(random: np.random.Generator, side: int, begin: float, end: float) -> list[Solid]:
    """A low wall or a hedge along the pavement."""
    if random.random() < 0.4:
        centre = ((begin + end) / 2, side * _HOUSE_Y, 0.5)
        return [Box(surface=_STONE, centre=centre, size=(end - begin, 0.25, 1.0))]
    places = np.arange(begin + 0.5, end - 0.5, random.uniform(1.0, 1.8)).tolist()
    return [
        _leaves(random, (x, side * (_HOUSE_Y + 0.4), 0.8), (0.55, 0.4, 0.6), 14) for x in places
    ]


def _leaves(
    random: np.random.Generator,
    centre: tuple[float, float, float],
    spread: tuple[float, float, float],
    count: int,
) -> Spheres:
    """Balls scattered in an ellipsoid with the half axes ``spread``."""
    ball = random.normal(size=(count, 3))
    ball *= random.uniform(0.3, 1.0, (count, 1)) / np.linalg.norm(ball, axis=1, keepdims=True)
    centres = ball * spread + centre
    return Spheres(
        surface=_LEAVES, centres=tuple(map(tuple, centres.tolist())), radius=min(spread) * 0.4
    )


def _furniture(random: np.random.Generator, side: int, crossing: float) -> list[Solid]:
    """Lamps, trees and signs at the kerb."""
    solids: list[Solid] = []
    y = side * (_KERB_Y + 0.6)
    for x in np.arange(_BEGIN, _END, 14.0) + random.uniform(0, 14):
        place = float(x + random.uniform(-2, 2))
        if _in_crossing(place, crossing, 1):
            continue
        kind = random.choice(['lamp', 'tree', 'tree', 'sign'])
        if kind == 'tree':
            trunk = random.uniform(0.12, 0.25)
            solids.append(
                Cylinder(surface=_BARK, centre=(place, y), radius=trunk, z_range=(0.1, 3.0))
            )
            spread = random.uniform(1.2, 2.2)
            solids.append(_leaves(random, (place, y, 3.4), (spread, spread, 1.5), 30))
            continue
        solids.append(Cylinder(surface=_METAL, centre=(place, y), radius=0.07, z_range=(0.1, 6.0)))
        if kind == 'sign':
            solids.append(Box(surface=_SIGN, centre=(place, y, 2.2), size=(0.08, 0.6, 0.6)))
    return solids


def _parked(random: np.random.Generator, side: int, crossing: float) -> list[Solid]:
    solids: list[Solid] = []
    x = _BEGIN
    while x < _END - 6:
        x += random.choice([random.uniform(5.2, 6.2), random.uniform(8, 20)], p=[0.55, 0.45])
        if _in_crossing(x, crossing, 5):
            continue
        # The right side is parked in driving direction.
        yaw = (0.0 if side < 0 else np.pi) + random.normal(0, 0.02)
        y = side * (_PARKING_Y + random.normal(0, 0.08))
        build = _van if random.random() < 0.15 else _car
        solids += build(random, x, y, yaw, 0.0)
    return solids


def _traffic(random: np.random.Generator, crossing: float) -> list[Solid]:
    solids: list[Solid] = []
    solids += _car(random, random.uniform(16, 24), -_LANE_Y, 0.0, random.uniform(8, 9))
    solids += _car(random, random.uniform(-24, -16), -_LANE_Y, 0.0, random.uniform(7, 8))
    speed = random.uniform(9, 12)
    x = random.uniform(12, 20)
    while x < _END:
        build = _van if random.random() < 0.2 else _car
        solids += build(random, x, _LANE_Y, np.pi, speed)
        x += random.uniform(14, 45)
    # One waits in the side road.
    solids += _car(random, crossing + 1.8, _KERB_Y + 5, -np.pi / 2, 0.0)
    return solids


def _people(random: np.random.Generator, side: int) -> list[Solid]:
    solids: list[Solid] = []
    for x in random.uniform(-30, 60, 5):
        y = side * random.uniform(_KERB_Y + 1.1, _HOUSE_Y - 0.6)
        velocity = (float(random.choice([-1, 1]) * random.uniform(0.9, 1.6)), 0.0)
        cloth = Surface(random.uniform(0.15, 0.6))
        height = random.uniform(1.5, 1.85)
        for radius, low, high in (
            (0.14, 0.1, 0.8),
            (0.23, 0.8, height - 0.25),
            (0.11, height - 0.25, height),
        ):
            solids.append(
                Cylinder(
                    surface=cloth,
                    velocity=velocity,
                    centre=(float(x), y),
                    radius=radius,
                    z_range=(low + 0.02, high + 0.12),
                )
            )
    return solids


def _car(random: np.random.Generator, x: float, y: float, yaw: float, speed: float) -> list[Solid]:
    """A body box and, set back a little, a cabin of roof and glass."""
    length, width = random.uniform(3.8, 4.8), random.uniform(1.7, 1.85)
    cabin = length * random.uniform(0.5, 0.58)
    parts = (
        # shift along the car, length, width, bottom, top
        (0.0, length, width, 0.22, 0.88, None),
        (-0.06 * length, cabin, width - 0.2, 0.88, 1.36, _GLASS),
        (-0.06 * length, cabin - 0.4, width - 0.3, 1.36, 1.48, None),
    )
    return _vehicle(random, x, y, yaw, speed, parts)


def _van(random: np.random.Generator, x: float, y: float, yaw: float, speed: float) -> list[Solid]:
    length, width = random.uniform(4.9, 5.8), random.uniform(1.9, 2.0)
    parts = (
        (-0.35, length - 0.7, width, 0.25, 2.2, None),
        (length / 2 - 0.35, 0.7, width - 0.1, 0.25, 1.1, None),
    )
    return _vehicle(random, x, y, yaw, speed, parts)


def _vehicle(
    random: np.random.Generator,
    x: float,
    y: float,
    yaw: float,
    speed: float,
    parts: tuple[tuple[float, float, float, float, float, Surface | None], ...],
) -> list[Solid]:
    """Boxes in a row along the heading; a surface of None is the vehicle's paint."""
    paint = Surface(random.uniform(0.1, 0.6), dropout=0.05)
    heading = np.array([np.cos(yaw), np.sin(yaw)])
    velocity = (float(heading[0] * speed), float(heading[1] * speed))
    return [
        Box(
            surface=surface or paint,
            velocity=velocity,
            centre=(
                float(x + shift * heading[0]),
                float(y + shift * heading[1]),
                (bottom + top) / 2,
            ),
            size=(length, width, top - bottom),
            yaw=float(yaw),
        )
        for shift, length, width, bottom, top, surface in parts
    ]
