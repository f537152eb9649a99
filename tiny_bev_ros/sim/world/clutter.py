# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Clutter beside the road, some of it as large as a car, a person or a bicycle."""

from __future__ import annotations

import math

import numpy as np

from tiny_bev_ros.sim.world import two_wheelers
from tiny_bev_ros.sim.world.parts import LEAVES, Material, PartList, Pose
from tiny_bev_ros.sim.world.surroundings import METAL, STONE, WOOD


def clutter(parts: PartList, random: np.random.Generator, pose: Pose) -> None:
    """Adds one thing, drawn at random, at a pose."""
    parts.stand(pose)
    grey = Material(random.uniform(0.08, 0.6))
    _THINGS[random.integers(0, len(_THINGS))](parts, random, grey)


def _bins(parts: PartList, random: np.random.Generator, grey: Material) -> None:
    for i in range(random.integers(1, 4)):
        parts.box((0.7 * i, 0, 0.53), (0.56, 0.6, 1.06), grey, taper=(1.1, 1.1))


def _cabinet(parts: PartList, random: np.random.Generator, grey: Material) -> None:
    height = random.uniform(0.9, 1.5)
    parts.box((0, 0, height / 2), (random.uniform(0.5, 1.3), 0.4, height), grey)


def bench(parts: PartList, random: np.random.Generator, pose: Pose) -> None:
    """Adds a bench along the heading of the pose; its back is on the left."""
    parts.stand(pose)
    _bench(parts, random, WOOD)


def _bench(parts: PartList, random: np.random.Generator, grey: Material) -> None:
    parts.box((0, 0, 0.45), (1.8, 0.45, 0.08), WOOD)
    parts.box((0, 0.22, 0.7), (1.8, 0.06, 0.4), WOOD)
    for x in (-0.7, 0.7):
        parts.box((x, 0, 0.22), (0.08, 0.4, 0.45), METAL)


def _skip(parts: PartList, random: np.random.Generator, grey: Material) -> None:
    height = random.uniform(0.9, 1.5)
    size = (random.uniform(2.2, 3.8), 1.6, height)
    parts.box((0, 0, height / 2), size, grey, taper=(1.25, 1.05))


def _bottle_banks(parts: PartList, random: np.random.Generator, grey: Material) -> None:
    for i in range(random.integers(2, 4)):
        parts.tube((1.5 * i, 0, 0.8), (1.3, 1.3, 1.6), grey, taper=0.8)


def _heaps(parts: PartList, random: np.random.Generator, grey: Material) -> None:
    for _ in range(random.integers(1, 5)):
        size = random.uniform(0.3, 1.6)
        x, y = random.uniform(-1, 1, 2).tolist()
        parts.ball((x, y, size * 0.2), (size, size * 1.3, size * 0.8), STONE)


def _shelter(parts: PartList, random: np.random.Generator, grey: Material) -> None:
    parts.box((0, 0.7, 1.2), (random.uniform(2.5, 4.5), 0.06, 2.2), Material(0.1, 0.3, 0.5))
    parts.box((0, 0.1, 2.4), (4.0, 1.5, 0.1), METAL)
    for x in (-1.6, 1.6):
        parts.box((x, 0, 1.2), (0.1, 1.2, 2.4), Material(0.2, 0.2, 0.5))


def _pallets(parts: PartList, random: np.random.Generator, grey: Material) -> None:
    for _ in range(random.integers(1, 5)):
        length, width, height = random.uniform(0.4, 1.2, 3).tolist()
        x, y = random.uniform(-1, 1, 2).tolist()
        yaw = random.uniform(0, 3)
        parts.box((x, y, height / 2), (length, width, height), WOOD, yaw=yaw)


def _tables(parts: PartList, random: np.random.Generator, grey: Material) -> None:
    for _ in range(random.integers(2, 7)):
        x, y = random.uniform(-1.5, 1.5, 2).tolist()
        parts.box((x, y, 0.4), (0.45, 0.45, 0.8), Material(0.3, 0.1, 0.4))
    if random.random() < 0.5:
        parts.box((0, 0, 2.2), (2.5, 2.5, 0.3), Material(0.4), taper=(0.1, 0.1))
        parts.tube((0, 0, 1.1), (0.06, 0.06, 2.2), METAL)


def _barriers(parts: PartList, random: np.random.Generator, grey: Material) -> None:
    for i in range(random.integers(1, 4)):
        parts.box((2.2 * i, 0, 0.5), (2.0, 0.06, 1.0), Material(0.6, 0.0, 0.45))


def _column(parts: PartList, random: np.random.Generator, grey: Material) -> None:
    height, wide = random.uniform(1.0, 3.2), random.uniform(0.3, 1.3)
    parts.tube((0, 0, height / 2), (wide, wide, height), grey)


def post(parts: PartList, random: np.random.Generator, pose: Pose) -> None:
    """Adds one of the things of 0.8 to 1.5 m that stand at kerbs and are as slim as a person."""
    parts.stand(pose)
    _POSTS[random.integers(0, len(_POSTS))](parts, random, Material(random.uniform(0.08, 0.7)))


def bollard(parts: PartList, random: np.random.Generator, pose: Pose, high: float) -> None:
    """Adds a bollard."""
    parts.stand(pose)
    wide = 0.08 + 0.1 * random.random()
    parts.tube((0, 0, high / 2), (wide, wide, high), METAL, taper=0.9)


def _hydrant(parts: PartList, random: np.random.Generator, grey: Material) -> None:
    high = random.uniform(0.7, 1.1)
    parts.tube((0, 0, high / 2), (0.26, 0.26, high), grey, taper=0.8)
    parts.box((0, 0, 0.65 * high), (0.18, 0.5, 0.16), grey)


def _parking_meter(parts: PartList, random: np.random.Generator, grey: Material) -> None:
    high = random.uniform(1.2, 1.65)
    parts.tube((0, 0, high / 2), (0.1, 0.1, high), METAL)
    wide = random.uniform(0.18, 0.4)
    parts.box((0, 0, high - 0.25), (0.2, wide, 0.5), grey)


def _wide_bollard(parts: PartList, random: np.random.Generator, grey: Material) -> None:
    high, wide = random.uniform(0.8, 1.4), random.uniform(0.16, 0.5)
    parts.tube((0, 0, high / 2), (wide, wide, high), grey, taper=random.uniform(0.6, 1.0))


def _waste_bin(parts: PartList, random: np.random.Generator, grey: Material) -> None:
    high, wide = random.uniform(0.8, 1.25), random.uniform(0.35, 0.6)
    parts.tube((0, 0, high / 2), (wide, wide, high), grey, taper=1.1)


def _letter_box(parts: PartList, random: np.random.Generator, grey: Material) -> None:
    high = random.uniform(1.0, 1.5)
    parts.box((0, 0, high / 4), (0.12, 0.12, high / 2), METAL)
    parts.box((0, 0, 0.75 * high), (0.35, random.uniform(0.25, 0.55), high / 2), grey)


def _advert(parts: PartList, random: np.random.Generator, grey: Material) -> None:
    high = random.uniform(0.9, 1.4)
    for pitch in (0.25, -0.25):
        parts.box((-pitch / 2, 0, high / 2), (0.04, 0.6, high), grey, pitch=pitch)


def _cones(parts: PartList, random: np.random.Generator, grey: Material) -> None:
    for i in range(random.integers(1, 6)):
        parts.tube((1.3 * i, 0, 0.38), (0.36, 0.36, 0.76), grey, taper=0.2)


def _planter(parts: PartList, random: np.random.Generator, grey: Material) -> None:
    wide, high = random.uniform(0.5, 1.2), random.uniform(0.4, 0.8)
    parts.box((0, 0, high / 2), (wide, wide, high), grey, taper=(1.1, 1.1))
    leaves = Material(0.4, 0.15, 0.5, 0.3, surface=LEAVES)
    parts.ball((0, 0, high + 0.3), (wide, wide, random.uniform(0.4, 1.2)), leaves)


def _hoops(parts: PartList, random: np.random.Generator, grey: Material) -> None:
    for i in range(random.integers(2, 7)):
        for y in (-0.35, 0.35):
            parts.box((0.9 * i, y, 0.42), (0.06, 0.06, 0.85), METAL)
        parts.box((0.9 * i, 0, 0.83), (0.06, 0.7, 0.06), METAL)


def _trolleys(parts: PartList, random: np.random.Generator, grey: Material) -> None:
    wire = Material(0.4, density=0.4)
    for i in range(random.integers(1, 5)):
        parts.box((0.35 * i, 0, 0.7), (0.9, 0.55, 0.5), wire, taper=(1.1, 1.1))
        parts.box((0.35 * i - 0.5, 0, 1.0), (0.05, 0.55, 0.05), METAL)
        parts.box((0.35 * i, 0, 0.2), (0.8, 0.4, 0.1), METAL)


def _scaffold(parts: PartList, random: np.random.Generator, grey: Material) -> None:
    for x in range(int(random.integers(2, 5))):
        for y in (-0.4, 0.4):
            parts.box((2.0 * x, y, 3.0), (0.06, 0.06, 6.0), METAL)
        for z in (2.0, 4.0):
            parts.box((2.0 * x, 0, z), (2.0, 0.9, 0.06), WOOD)


def _kick_scooters(parts: PartList, random: np.random.Generator, grey: Material) -> None:
    pose = parts.pose
    for i in range(random.integers(1, 5)):
        yaw = pose.yaw + random.normal(1.2, 0.2)
        two_wheelers.kick_scooter(parts, random, _moved(pose, 0.45 * i, yaw), -1)


def _motorcycles(parts: PartList, random: np.random.Generator, grey: Material) -> None:
    pose = parts.pose
    for i in range(random.integers(1, 4)):
        yaw = pose.yaw + random.normal(1.3, 0.15)
        two_wheelers.motorcycle(parts, random, _moved(pose, 0.95 * i, yaw), -1)


def _moved(pose: Pose, along: float, yaw: float) -> Pose:
    x, y = pose.x + math.cos(pose.yaw) * along, pose.y + math.sin(pose.yaw) * along
    return Pose(x, y, pose.z, yaw)


_POSTS = (
    _hydrant,
    _parking_meter,
    _wide_bollard,
    _wide_bollard,
    _waste_bin,
    _letter_box,
    _advert,
)
_THINGS = (
    _bins,
    _cabinet,
    _bench,
    _skip,
    _bottle_banks,
    _heaps,
    _shelter,
    _pallets,
    _tables,
    _barriers,
    _column,
    _cones,
    _planter,
    _hoops,
    _trolleys,
    _scaffold,
    _kick_scooters,
    _motorcycles,
)
