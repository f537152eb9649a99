# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Surroundings of a road: trees, walls, poles and houses, which a detector must not report.

Each function adds parts at a pose; sizes are in metres.
"""

from __future__ import annotations

import math

import numpy as np

from tiny_bev_ros.sim.world.parts import GLASS, LEAVES, Material, PartList, Pose
from tiny_bev_ros.sim.world.parts import WOOD as WOODEN

STONE = Material(0.34)
METAL = Material(0.45)
BARK = Material(0.3, surface=WOODEN)
WOOD = Material(0.35, surface=WOODEN)
_SIGN = Material(0.95)
_WINDOW = Material(0.05, 0.7, surface=GLASS)


def _leaves(random: np.random.Generator) -> Material:
    return Material(
        random.uniform(0.3, 0.55),
        dropout=0.15,
        density=random.uniform(0.35, 0.9),
        depth=random.uniform(0.4, 2.0),
        surface=LEAVES,
    )


def tree(parts: PartList, random: np.random.Generator, pose: Pose) -> None:
    """Adds a tree: a trunk and a crown, young or old, or several stems."""
    parts.stand(pose)
    height = random.uniform(3.5, 12)
    bare = random.uniform(0.08, 0.5) * height
    radius = random.uniform(0.012, 0.03) * height + 0.04
    for index in range(1 if random.random() < 0.8 else int(random.integers(2, 5))):
        x, y = (0.3 * random.normal(size=2)).tolist() if index else (0.0, 0.0)
        parts.tube((x, y, bare / 2 + 0.2), (2 * radius, 2 * radius, bare + 0.8), BARK, taper=0.8)
    leaves, spread = _leaves(random), random.uniform(0.18, 0.35) * height
    if random.random() < 0.2:  # a conifer
        for fraction in (0.2, 0.5, 0.8):
            wide = 2 * spread * (1 - fraction * 0.9)
            parts.ball((0, 0, bare + (height - bare) * fraction), (wide, wide, height / 3), leaves)
        return
    for _ in range(random.integers(4, 9)):
        angle, far = random.uniform(0, 2 * math.pi), random.uniform(0, 0.7) * spread
        up = bare + (height - bare) * random.uniform(0.15, 0.85)
        size = spread * random.uniform(0.7, 1.4)
        parts.ball(
            (far * math.cos(angle), far * math.sin(angle), up),
            (size, size, size * 0.9),
            leaves,
            yaw=angle,
        )


def bush(
    parts: PartList, random: np.random.Generator, pose: Pose, size: float | None = None
) -> None:
    """Adds a bush, which may be as large as a car."""
    parts.stand(pose)
    leaves = _leaves(random)
    size = size or random.uniform(0.5, 2.2)
    for _ in range(random.integers(2, 6)):
        wide = size * random.uniform(0.5, 1.1)
        parts.ball(
            (*random.uniform(-0.5, 0.5, 2).tolist(), size * random.uniform(0.15, 0.5)),
            (wide * random.uniform(0.8, 1.6), wide, size * random.uniform(0.6, 1.1)),
            leaves,
            yaw=random.uniform(0, math.pi),
        )


def shrubs(parts: PartList, random: np.random.Generator, pose: Pose) -> None:
    """Adds low vegetation: tall grass, ground cover, small or columnar shrubs."""
    parts.stand(pose)
    leaves, kind = _leaves(random), random.random()
    if kind < 0.2:  # as high and as slim as a person
        high, wide = random.uniform(0.9, 2.0), random.uniform(0.35, 0.8)
        parts.tube((0, 0, high / 2), (wide, wide, high), leaves, taper=random.uniform(0.4, 1.1))
        return
    spread = random.uniform(0.5, 2.2)
    for _ in range(random.integers(2, 7)):
        x, y = (spread * random.uniform(-1, 1, 2)).tolist()
        long, wide = random.uniform(0.3, 1.3, 2).tolist()
        high = random.uniform(0.3, 0.95)
        if kind < 0.5:
            parts.box((x, y, high / 2), (long, wide, high), leaves, taper=(0.8, 0.7), yaw=4 * x)
        else:
            parts.ball((x, y, 0.35 * high), (long, wide, 1.2 * high), leaves, yaw=4 * x)


def hedge(parts: PartList, random: np.random.Generator, pose: Pose, length: float) -> None:
    """Adds a cut hedge along the heading of the pose."""
    parts.stand(pose)
    leaves = Material(
        random.uniform(0.3, 0.5),
        0.15,
        random.uniform(0.6, 0.95),
        random.uniform(0.2, 0.9),
        surface=LEAVES,
    )
    height, width = random.uniform(0.5, 2.0), random.uniform(0.5, 1.4)
    begin = -length / 2
    while begin < length / 2:
        piece = random.uniform(1.2, 3.0)
        parts.box(
            (begin + piece / 2, random.normal(0, 0.05), height / 2 - 0.1),
            (piece, width * random.uniform(0.8, 1.15), height * random.uniform(0.85, 1.1)),
            leaves,
            taper=(1.0, random.uniform(0.7, 1.0)),
        )
        begin += piece


def wall(parts: PartList, random: np.random.Generator, pose: Pose, length: float) -> None:
    """Adds a garden wall, perhaps with pillars."""
    parts.stand(pose)
    height = random.choice([random.uniform(0.4, 1.2), random.uniform(1.0, 2.2)])
    material = Material(random.uniform(0.2, 0.5), dropout=0.02)
    parts.box(
        (0, 0, height / 2 - 0.2), (length, random.uniform(0.15, 0.4), height + 0.4), material
    )
    if random.random() < 0.4:
        for x in np.arange(-length / 2, length / 2, random.uniform(2.5, 4)):
            parts.box((float(x), 0, height / 2), (0.45, 0.45, height + 0.3), material)


def fence(parts: PartList, random: np.random.Generator, pose: Pose, length: float) -> None:
    """Adds a fence: posts with boards, bars or wire between them."""
    parts.stand(pose)
    height = random.uniform(0.8, 1.9)
    density = random.choice([0.1, 0.35, 0.7, 0.95])
    parts.box((0, 0, height / 2), (length, 0.05, height), Material(0.35, 0.05, float(density)))
    for x in np.arange(-length / 2, length / 2, random.uniform(1.5, 3.0)):
        parts.box((float(x), 0, height / 2), (0.1, 0.1, height + 0.1), WOOD)


def guard_rail(parts: PartList, random: np.random.Generator, pose: Pose, length: float) -> None:
    """Adds a guard rail, as along roads outside of town."""
    parts.stand(pose)
    parts.box((0, 0, 0.6), (length, 0.12, 0.32), METAL)
    for x in np.arange(-length / 2, length / 2, random.choice([2.0, 4.0])):
        parts.box((float(x), 0.1, 0.35), (0.1, 0.14, 0.75), METAL)


def pole(parts: PartList, random: np.random.Generator, pose: Pose) -> None:
    """Adds a lamp, a sign, a traffic light, a utility pole or a post."""
    parts.stand(pose)
    kind = random.choice(
        ['lamp', 'sign', 'post', 'light', 'utility'], p=[0.25, 0.3, 0.2, 0.15, 0.1]
    )
    height = {
        'lamp': random.uniform(4, 9),
        'sign': random.uniform(1.6, 3.0),
        'post': random.uniform(0.85, 1.4),
        'light': 3.2,
        'utility': 9.0,
    }[str(kind)]
    radius = random.uniform(0.1, 0.18) if kind == 'utility' else random.uniform(0.04, 0.12)
    parts.tube((0, 0, height / 2), (2 * radius, 2 * radius, height), METAL)
    if kind == 'sign':
        wide, high = random.uniform(0.3, 0.9, 2).tolist()
        yaw = random.normal(0, 0.4)
        parts.box((0, 0, height - high / 2), (0.05, wide, high), _SIGN, yaw=yaw)
    elif kind == 'light':
        parts.box((0, 0, height - 0.4), (0.3, 0.3, 0.9), Material(0.08))
    elif kind == 'lamp':
        parts.tube((0, 0, 0.5), (3.2 * radius, 3.2 * radius, 1.0), METAL)
    if height > 2 and random.random() < 0.2:  # a waste bin or a box on the pole
        parts.box((0.2, 0, random.uniform(0.7, 1.2)), (0.35, 0.35, 0.55), METAL)


def canopy(
    parts: PartList, random: np.random.Generator, pose: Pose, length: float, depth: float
) -> None:
    """Adds an awning, a canopy or a balcony: a thing above the heads of people."""
    parts.stand(pose)
    material = Material(random.uniform(0.1, 0.6), dropout=random.uniform(0.0, 0.1))
    height, thick = random.uniform(2.15, 3.2), random.choice([0.06, 0.15, 0.4, 0.9])
    slope = random.uniform(-0.15, 0.15) if thick < 0.3 else 0.0
    parts.box((0, 0, height + thick / 2), (length, depth, thick), material, pitch=slope)
    if random.random() < 0.4:  # goods, or a hanging sign, under it
        x = random.uniform(-0.4, 0.4) * length
        parts.box((x, 0, height - 0.2), (0.7, 0.1, 0.4), material)


def house(
    parts: PartList, random: np.random.Generator, pose: Pose, length: float, depth: float
) -> None:
    """Adds a house with bays and doors; its front lies on the x axis, the house to the left."""
    parts.stand(pose)
    material = Material(random.uniform(0.15, 0.55), dropout=random.uniform(0.0, 0.08))
    height = random.uniform(3, 14)
    parts.box((0, depth / 2, height / 2 - 0.5), (length, depth, height + 1.0), material)
    for _ in range(random.integers(0, 4)):
        wide, out = random.uniform(0.8, 3.5), random.uniform(0.2, 1.5)
        if wide < length:
            position = random.uniform(-(length - wide) / 2, (length - wide) / 2)
            high = random.choice([1.0, 2.5, 2.8, height])
            parts.box((position, 0, high / 2), (wide, 2 * out, high), material)
    if random.random() < 0.5:  # steps to a door, or a row of columns
        position, count = random.uniform(-length / 2, length / 2), int(random.integers(2, 5))
        for i in range(count):
            out = 0.35 * (count - i)
            parts.box((position, -out / 2, 0.09 + 0.17 * i), (1.6, out, 0.18), STONE)
    elif random.random() < 0.2:
        for x in np.arange(-length / 2, length / 2, random.uniform(1.6, 4)):
            parts.tube((float(x), -0.8, 1.5), (0.35, 0.35, 3.0), material)
    if random.random() < 0.4:  # a carport or an awning: a roof without walls
        position = random.uniform(-length / 2, length / 2)
        parts.box((position, -1.4, 2.5), (3.2, 2.8, 0.15), WOOD)
        for x in (-1.5, 1.5):
            parts.box((position + x, -2.6, 1.2), (0.12, 0.12, 2.5), WOOD)
    for x in np.arange(-length / 2 + 1.2, length / 2 - 1, random.uniform(1.8, 3.2)):
        # Windows are boxes of glass that stand out of the front by 4 cm.
        parts.box((float(x), -0.01, 1.6), (1.0, 0.06, 1.2), _WINDOW)
