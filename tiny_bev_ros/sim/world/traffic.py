# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Cars, vans, trucks, buses, pedestrians and cyclists, with bodies rather than boxes.

Each function adds the parts of one object and returns length, width and height of its label
box in metres: mirrors lie outside, wheels stand on the bottom.
"""

from __future__ import annotations

import math

import numpy as np

from tiny_bev_ros.sim.world.parts import (
    CLOTH,
    GLASS,
    PAINT,
    RUBBER,
    SKIN,
    Material,
    PartList,
    Pose,
)

Size = tuple[float, float, float]
_TYRE = Material(0.06, dropout=0.2, surface=RUBBER)
_SEAT = Material(0.15, dropout=0.3, surface=RUBBER)


def _paint(random: np.random.Generator) -> Material:
    # Dark smooth paint reflects light away from the sensor.
    dark = random.random() < 0.35
    return Material(
        random.uniform(0.03, 0.12) if dark else random.uniform(0.15, 0.7),
        dropout=random.uniform(0.1, 0.4) if dark else random.uniform(0.0, 0.1),
        surface=PAINT,
    )


def _glass(random: np.random.Generator) -> Material:
    return Material(0.08, dropout=0.4, density=random.uniform(0.15, 0.6), surface=GLASS)


def _wheels(parts: PartList, length: float, width: float, radius: float) -> None:
    for x in (length * 0.31, -length * 0.31):
        for y in (width / 2 - 0.12, -width / 2 + 0.12):
            parts.box((x, y, radius), (radius * 1.7, 0.22, radius * 2), _TYRE)


def car(parts: PartList, random: np.random.Generator, pose: Pose, instance_id: int) -> Size:
    """Adds a hatchback, saloon, estate or off-roader."""
    kind = random.choice(['hatchback', 'saloon', 'estate', 'suv'], p=[0.5, 0.18, 0.17, 0.15])
    length = {
        'hatchback': random.uniform(3.3, 4.2) if random.random() < 0.93 else 2.7,
        'saloon': random.uniform(4.15, 4.8),
        'estate': random.uniform(4.1, 4.7),
        'suv': random.uniform(3.9, 4.7),
    }[str(kind)]
    width = 1.34 + 0.075 * length + random.normal(0, 0.05)
    height = random.uniform(1.6, 1.8) if kind == 'suv' else random.uniform(1.38, 1.56)
    parts.stand(pose, instance_id)
    paint, glass = _paint(random), _glass(random)
    sill = random.uniform(0.16, 0.24) + (0.07 if kind == 'suv' else 0.0)
    belt = height * random.uniform(0.58, 0.64)
    hood = belt - random.uniform(0.03, 0.14)
    nose = length * random.uniform(0.2, 0.28)
    tail = length * (random.uniform(0.12, 0.19) if kind == 'saloon' else random.uniform(0.0, 0.04))
    # Rounded corners: nested boxes, the longer ones narrower.
    round_off = random.uniform(0.6, 1.4)
    for long, wide in (
        (1.0, 1 - 0.4 * round_off),
        (1 - 0.02 * round_off, 1 - 0.18 * round_off),
        (1 - 0.07 * round_off, 1.0),
    ):
        parts.box(
            (0, 0, (sill + hood * 0.75) / 2),
            (length * long, width * wide, hood * 0.75 - sill),
            paint,
        )
        parts.box(
            (0, 0, hood * 0.875),
            (length * long, width * wide, hood * 0.25),
            paint,
            taper=(0.95, 0.96),
        )
    cabin = length - nose - tail
    back = -length / 2 + tail + cabin / 2
    parts.box((back, 0, (hood + belt) / 2), (cabin, width * 0.96, belt - hood), paint)
    windscreen = random.uniform(0.45, 0.75)
    rear = windscreen if kind == 'saloon' else random.uniform(0.1, 0.35)
    roof = cabin - windscreen - rear
    lean = random.uniform(0.74, 0.84)
    parts.box(
        (back, 0, (belt + height - 0.06) / 2),
        (cabin, width * 0.94, height - 0.06 - belt),
        glass,
        taper=(roof / cabin, lean),
        shift=(rear - windscreen) / 2,
    )
    top = back + (rear - windscreen) / 2
    parts.box(
        (top, 0, height - 0.05), (roof * 1.04, width * 0.94 * lean, 0.1), paint, taper=(0.9, 0.9)
    )
    # Pillars between the windows.
    for x in (back - cabin * 0.02, top - roof * 0.42):
        for y in (width * 0.42, -width * 0.42):
            parts.box((x, y, (belt + height) / 2), (0.1, 0.08, height - belt - 0.05), paint)
    for x in (0.1, -0.85):
        parts.box((back + 0.3 + x, 0, height * 0.5), (0.25, width * 0.7, height * 0.4), _SEAT)
    for y in (width / 2 + 0.08, -width / 2 - 0.08):
        parts.box((back + cabin / 2 - windscreen, y, belt + 0.05), (0.1, 0.16, 0.14), paint)
    _wheels(parts, length, width, random.uniform(0.29, 0.34))
    return length, width, height


def van(parts: PartList, random: np.random.Generator, pose: Pose, instance_id: int) -> Size:
    """Adds a van, from small delivery van to minibus."""
    length, width = random.uniform(4.3, 5.9), random.uniform(1.75, 2.05)
    height = random.uniform(1.8, 2.6)
    parts.stand(pose, instance_id)
    paint, glass = _paint(random), _glass(random)
    nose = random.uniform(0.5, 1.0)
    sill = random.uniform(0.2, 0.3)
    belt = min(height * 0.55, 1.2)
    for long, wide in ((1.0, 0.88), (0.96, 1.0)):
        parts.box(
            (0, 0, (sill + belt) / 2), (length * long, width * wide, belt - sill), paint,
            taper=(0.98, 0.98),
        )  # fmt: skip
    hold = length - nose
    slope = random.uniform(0.2, 0.5)
    windows = glass if random.random() < 0.4 else paint
    parts.box(
        (-nose / 2, 0, (belt + height) / 2),
        (hold, width * 0.97, height - belt),
        windows,
        taper=((hold - slope) / hold, 0.93),
        shift=-slope / 2,
    )
    parts.box((-nose / 2 - slope / 2, 0, height - 0.06), (hold - slope, width * 0.9, 0.12), paint)
    parts.box((-hold * 0.1, 0, height * 0.5), (hold * 0.6, width * 0.7, height * 0.5), _SEAT)
    _wheels(parts, length, width, 0.34)
    return length, width, height


def truck(parts: PartList, random: np.random.Generator, pose: Pose, instance_id: int) -> Size:
    """Adds a truck with a box or an open bed."""
    length, width = random.uniform(6.0, 11.0), random.uniform(2.2, 2.55)
    height = random.uniform(2.7, 3.8)
    parts.stand(pose, instance_id)
    paint, load = _paint(random), _paint(random)
    cab = random.uniform(1.6, 2.3)
    cab_height = min(height, random.uniform(2.4, 3.0))
    front = length / 2 - cab / 2
    parts.box((front, 0, (0.5 + cab_height) / 2), (cab, width * 0.97, cab_height - 0.5), paint,
              taper=(0.92, 0.96), shift=-0.05)  # fmt: skip
    bed = length - cab - 0.4
    rear = -length / 2 + bed / 2
    parts.box((rear, 0, 0.85), (bed, width * 0.5, 0.3), _TYRE)
    if random.random() < 0.7:
        parts.box((rear, 0, (1.0 + height) / 2), (bed, width, height - 1.0), load)
    else:
        height = cab_height
        parts.box((rear, 0, 1.1), (bed, width, 0.2), load)
        parts.box((rear, 0, 1.5), (bed * 0.8, width * 0.8, random.uniform(0.3, 1.0)), load)
    _wheels(parts, length, width, 0.48)
    return length, width, height


def bus(parts: PartList, random: np.random.Generator, pose: Pose, instance_id: int) -> Size:
    """Adds a city bus."""
    length, width, height = random.uniform(9.5, 12.2), 2.55, random.uniform(2.95, 3.3)
    parts.stand(pose, instance_id)
    paint = _paint(random)
    parts.box((0, 0, 0.75), (length, width, 0.9), paint)
    parts.box((0, 0, 1.85), (length, width * 0.98, 1.3), _glass(random), taper=(0.99, 0.98))
    for x in np.linspace(-0.46, 0.46, 8) * length:
        for y in (width * 0.48, -width * 0.48):
            parts.box((float(x), y, 1.85), (0.18, 0.06, 1.3), paint)
    parts.box((0, 0, height - 0.35), (length, width * 0.97, 0.7), paint, taper=(0.98, 0.9))
    parts.box((0, 0, 1.3), (length * 0.85, width * 0.6, 1.0), _SEAT)
    _wheels(parts, length, width, 0.48)
    return length, width, height


def pedestrian(parts: PartList, random: np.random.Generator, pose: Pose, instance_id: int) -> Size:
    """Adds a pedestrian who stands or walks, perhaps with a bag."""
    height = random.uniform(1.5, 1.92) if random.random() < 0.88 else random.uniform(1.0, 1.45)
    stride = random.uniform(0.0, 0.6) * height / 1.75
    cloth = Material(random.uniform(0.1, 0.6), surface=CLOTH)
    legs = Material(random.uniform(0.06, 0.4), surface=CLOTH)
    girth = random.uniform(0.85, 1.2) * height / 1.75
    parts.stand(pose, instance_id)
    hip = height * 0.48
    for side in (1, -1):
        swing = side * math.atan2(stride / 2, hip)
        parts.box((side * stride / 4, side * 0.09, hip / 2), (0.16, 0.15, hip), legs, pitch=-swing)
        parts.box(
            (-side * stride / 5, side * (0.19 * girth + 0.06), height * 0.62),
            (0.1, 0.1, height * 0.36),
            cloth,
            pitch=swing * random.uniform(0.3, 1.0),
        )
    parts.tube((0, 0, height * 0.65), (0.26 * girth, 0.42 * girth, height * 0.36), cloth)
    parts.ball((0, 0, height - 0.12), (0.21, 0.18, 0.25), Material(0.35, surface=SKIN))
    if random.random() < 0.25:
        parts.box((-0.2 * girth, 0, height * 0.68), (0.16, 0.3, 0.4), cloth)
    length, width = max(0.45, stride + 0.25), 0.42 * girth + random.uniform(0.1, 0.25)
    return length, width, height


def cyclist(parts: PartList, random: np.random.Generator, pose: Pose, instance_id: int) -> Size:
    """Adds a cyclist."""
    length, height = random.uniform(1.6, 1.9), random.uniform(1.6, 1.85)
    parts.stand(pose, instance_id)
    bicycle(parts, random, pose, instance_id, length)
    cloth = Material(random.uniform(0.1, 0.6), surface=CLOTH)
    lean = random.uniform(0.15, 0.7)
    parts.box(
        (0.05, 0, height * 0.69), (0.25, 0.4, height * 0.36), cloth, taper=(0.9, 1.0), pitch=lean
    )
    parts.ball((0.05 + 0.35 * math.sin(lean), 0, height - 0.13), (0.24, 0.2, 0.26), cloth)
    for side in (1, -1):
        parts.box((0.05, side * 0.11, 0.62), (0.16, 0.14, 0.7), Material(0.15, surface=CLOTH),
                  pitch=-side * random.uniform(0, 0.5))  # fmt: skip
        parts.box((0.3, side * 0.23, height * 0.7), (0.5, 0.08, 0.1), cloth, pitch=0.4)
    return length, random.uniform(0.5, 0.65), height


def bicycle(
    parts: PartList,
    random: np.random.Generator,
    pose: Pose,
    instance_id: int,
    length: float = 1.75,
) -> None:
    """Adds a bicycle without rider, which is no cyclist."""
    parts.stand(pose, instance_id)
    steel = Material(random.uniform(0.1, 0.5))
    spokes = Material(0.2, density=0.15)
    for x in (length / 2 - 0.33, -length / 2 + 0.33):
        parts.box((x, 0, 0.33), (0.6, 0.04, 0.62), spokes)
        for z in (0.04, 0.63):
            parts.box((x, 0, z), (0.36, 0.04, 0.05), _TYRE)
        for end in (-0.31, 0.31):
            parts.box((x + end, 0, 0.33), (0.05, 0.04, 0.4), _TYRE)
    parts.box((0, 0, 0.65), (0.6, 0.04, 0.06), steel)
    parts.box((-0.18, 0, 0.6), (0.05, 0.04, 0.6), steel)
    parts.box((-0.2, 0, 0.95), (0.22, 0.12, 0.06), _TYRE)
    parts.box((0.38, 0, 1.0), (0.06, 0.5, 0.06), steel)
