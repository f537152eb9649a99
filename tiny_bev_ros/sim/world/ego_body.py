# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Body of the vehicle or robot that carries the sensor, which returns points of its own."""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.sim.world.parts import GLASS, PAINT, RUBBER, Material, PartList, Pose

# Least height in metres of a sensor on the roof of a car.
_ROOF = 1.35


def ego_body(random: np.random.Generator, pose: Pose, height: float) -> np.ndarray:
    """Returns the parts of a body around a sensor, which belong to no object.

    Args:
        random: source of sizes and materials.
        pose: position on the ground under the sensor, and attitude of the body.
        height: height of the sensor above the ground in metres; the body is that of a car if
            it allows for one, else of a robot.
    """
    parts = PartList().stand(pose)
    material = Material(random.uniform(0.05, 0.6), random.uniform(0.0, 0.3), surface=PAINT)
    if height >= _ROOF:
        _car(parts, random, height, material)
    else:
        _robot(parts, random, height, material)
    return parts.array()


def _car(parts: PartList, random: np.random.Generator, height: float, paint: Material) -> None:
    """Adds roof, windows, bonnet, boot, mirrors and perhaps a rack."""
    below = random.uniform(0.1, min(0.6, height - 1.2))
    roof, wide = height - below, random.uniform(1.05, 1.5)
    # The edges of the roof are 14 degrees below the horizon or more: sensors see over them.
    ahead, behind = below * random.uniform(1.5, 4, 2)
    long, middle = ahead + behind, (ahead - behind) / 2
    parts.box((middle, 0, roof - 0.06), (long, wide, 0.12), paint)
    belt = roof * random.uniform(0.55, 0.65)
    screen = random.uniform(0.3, 0.8)
    parts.box(
        (middle, 0, (roof + belt) / 2),
        (long + 2 * screen, wide + 0.3, roof - belt - 0.06),
        Material(0.08, 0.4, density=random.uniform(0.15, 0.6), surface=GLASS),
        taper=(long / (long + 2 * screen), wide / (wide + 0.3)),
    )
    nose, tail = screen + random.uniform(0.7, 1.2), screen + random.uniform(0.0, 0.9)
    front, back = middle + long / 2 + nose, middle - long / 2 - tail
    body = ((front + back) / 2, 0.0, (belt + 0.2) / 2), (front - back, wide + 0.4, belt - 0.2)
    parts.box(*body, paint)
    for y in (wide / 2 + 0.35, -wide / 2 - 0.35):
        parts.box((middle + long / 2 + 0.3, y, belt + 0.1), (0.12, 0.2, 0.16), paint)
    if random.random() < 0.4:
        for x in (middle + long * 0.4, middle - long * 0.4):
            parts.box((x, 0, roof + 0.05), (0.08, wide, 0.06), Material(0.3))
    _mast(parts, random, height, 0.3)


def _robot(parts: PartList, random: np.random.Generator, height: float, paint: Material) -> None:
    """Adds a chassis, wheels and perhaps a mast behind the sensor, or a body as of a car."""
    below = random.uniform(0.04, max(0.05, min(0.3, height - 0.2)))
    top, wide = height - below, random.uniform(0.35, 0.8)
    ahead, behind = below * random.uniform(1, 4), random.uniform(0.2, 1.8)
    long, middle = ahead + behind, (ahead - behind) / 2
    parts.box((middle, 0, (top + 0.06) / 2), (long, wide, top - 0.06), paint)
    wheel = min(random.uniform(0.1, 0.3), 2 * top)
    for x in (middle + long * 0.35, middle - long * 0.35):
        for y in (wide / 2 + 0.05, -wide / 2 - 0.05):
            parts.box((x, y, wheel / 2), (wheel, 0.08, wheel), Material(0.06, surface=RUBBER))
    if random.random() < 0.25:  # the sensor is in front of a body that hides all behind it
        tall, deep = height + random.uniform(0.1, 0.9), random.uniform(0.5, 3.0)
        begin, across = -random.uniform(0.1, 0.5), random.uniform(0.5, 1.8)
        parts.box((begin - deep / 2, 0, tall / 2 + 0.1), (deep, across, tall - 0.2), paint)
    _mast(parts, random, height, 0.5)


def _mast(parts: PartList, random: np.random.Generator, height: float, probability: float) -> None:
    """Adds masts or a load behind the sensor that hide a sector, with a probability."""
    if random.random() > probability:
        return
    behind, side = -random.uniform(0.25, 1.6), random.uniform(0.0, 0.4)
    thick, up = random.uniform(0.02, 0.25), random.uniform(0.1, 0.5)
    for y in (side, -side):
        parts.box((behind, y, height), (thick, thick, 2 * up), Material(0.3))
