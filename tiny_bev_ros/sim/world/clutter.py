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

import numpy as np

from tiny_bev_ros.sim.world.parts import Material, PartList, Pose
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
)
