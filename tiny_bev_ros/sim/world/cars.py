# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Cars and pickups, with bodies rather than boxes.

Each function adds the parts of one object and returns the length, width and height of its label
box in metres: mirrors lie outside, wheels stand on the bottom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiny_bev_ros.sim.world.parts import GLASS, PAINT, RUBBER, Material, PartList, Pose, Size

TYRE = Material(0.06, dropout=0.2, surface=RUBBER)
SEAT = Material(0.15, dropout=0.3, surface=RUBBER)
# Highest waistline in metres.
_MAX_BELT = 1.2


@dataclass(frozen=True)
class CarShape:
    """Proportions of a kind of car; ranges of fractions of the length, or of metres.

    Attributes:
        nose: bonnet, fraction of the length.
        tail: boot, fraction of the length.
        windscreen: length of the windscreen from above, in metres.
        rear: length of the rear window from above in metres.
        sill: height of the lower edge of the body in metres.
    """

    nose: tuple[float, float] = (0.2, 0.28)
    tail: tuple[float, float] = (0.0, 0.04)
    windscreen: tuple[float, float] = (0.45, 0.75)
    rear: tuple[float, float] = (0.1, 0.35)
    sill: tuple[float, float] = (0.16, 0.24)


HATCHBACK = CarShape()
SALOON = CarShape(tail=(0.12, 0.19), rear=(0.45, 0.75))
OFF_ROADER = CarShape(sill=(0.24, 0.34))
ONE_BOX = CarShape(nose=(0.1, 0.18), windscreen=(0.5, 0.9), rear=(0.05, 0.25))
KEI_VAN = CarShape(nose=(0.02, 0.1), windscreen=(0.2, 0.45), rear=(0.03, 0.12))


def paint(random: np.random.Generator) -> Material:
    """Draws a paint; dark smooth paint reflects light away from the sensor."""
    dark = random.random() < 0.35
    return Material(
        random.uniform(0.03, 0.12) if dark else random.uniform(0.15, 0.7),
        dropout=random.uniform(0.1, 0.4) if dark else random.uniform(0.0, 0.1),
        surface=PAINT,
    )


def glass(random: np.random.Generator) -> Material:
    """Draws a glass, of which tinted ones stop more rays."""
    return Material(0.08, dropout=0.4, density=random.uniform(0.15, 0.6), surface=GLASS)


def wheels(parts: PartList, length: float, width: float, radius: float) -> None:
    """Adds four wheels."""
    for x in (length * 0.31, -length * 0.31):
        for y in (width / 2 - 0.12, -width / 2 + 0.12):
            parts.box((x, y, radius), (radius * 1.7, 0.22, radius * 2), TYRE)


def car(
    parts: PartList,
    random: np.random.Generator,
    pose: Pose,
    instance_id: int,
    size: Size,
    shape: CarShape,
) -> Size:
    """Adds a car of a size and a shape."""
    length, width, height = size
    parts.stand(pose, instance_id)
    body, window = paint(random), glass(random)
    sill = random.uniform(*shape.sill)
    belt = min(height * random.uniform(0.58, 0.64), _MAX_BELT)
    hood = belt - random.uniform(0.03, 0.14)
    nose, tail = length * random.uniform(*shape.nose), length * random.uniform(*shape.tail)
    _rounded_body(parts, random, (length, width), (sill, hood), body)
    cabin = length - nose - tail
    back = -length / 2 + tail + cabin / 2
    parts.box((back, 0, (hood + belt) / 2), (cabin, width * 0.96, belt - hood), body)
    windscreen, rear = random.uniform(*shape.windscreen), random.uniform(*shape.rear)
    _cabin(parts, random, (back, cabin, windscreen, rear), (belt, height), width, body, window)
    for x in (0.1, -0.85):
        parts.box((back + 0.3 + x, 0, height * 0.5), (0.25, width * 0.7, height * 0.4), SEAT)
    _mirrors(parts, back + cabin / 2 - windscreen, width, belt, body)
    large = 0.05 if height > 1.65 else 0.0
    wheels(parts, length, width, random.uniform(0.29, 0.34) + large)
    return size


def pickup(
    parts: PartList, random: np.random.Generator, pose: Pose, instance_id: int, size: Size
) -> Size:
    """Adds a pickup whose bed is empty, covered or loaded."""
    length, width, height = size
    parts.stand(pose, instance_id)
    body, window = paint(random), glass(random)
    sill, belt = random.uniform(0.34, 0.46), height * random.uniform(0.6, 0.66)
    hood = belt - random.uniform(0.0, 0.1)
    bed = random.uniform(1.5, min(2.4, length - 3.5))
    front, middle = length - bed, bed / 2
    floor = random.uniform(0.7, 0.85)
    _rounded_body(parts, random, (length, width), (sill, floor), body)
    parts.box(
        (middle, 0, (floor + hood) / 2), (front, width * 0.96, hood - floor), body,
        taper=(0.97, 0.95),
    )  # fmt: skip
    cabin = front - length * random.uniform(0.2, 0.26)
    back = -length / 2 + bed + cabin / 2
    parts.box((back, 0, (hood + belt) / 2), (cabin, width * 0.95, belt - hood), body)
    windscreen = random.uniform(0.4, 0.7)
    glazing = (back, cabin, windscreen, random.uniform(0.03, 0.2))
    _cabin(parts, random, glazing, (belt, height), width, body, window)
    parts.box((back, 0, height * 0.55), (0.5, width * 0.7, height * 0.4), SEAT)
    # The walls of the bed and its tailgate.
    rear, rim = -length / 2 + bed / 2, belt - random.uniform(0.02, 0.12)
    for y in (width / 2 - 0.07, -width / 2 + 0.07):
        parts.box((rear, y, (floor + rim) / 2), (bed, 0.12, rim - floor), body)
    parts.box((0.05 - length / 2, 0, (floor + rim) / 2), (0.08, width * 0.9, rim - floor), body)
    load = random.random()
    if load < 0.2:
        parts.box((rear, 0, rim), (bed, width * 0.94, 0.06), SEAT)
    elif load < 0.3:
        parts.box(
            (rear, 0, (rim + height) / 2), (bed, width * 0.92, height - rim), window,
            taper=(0.94, 0.85),
        )  # fmt: skip
        parts.box((rear, 0, height - 0.05), (bed * 0.94, width * 0.78, 0.08), body)
    elif load < 0.55:
        for _ in range(random.integers(1, 4)):
            long, wide, high = random.uniform(0.3, 1.0, 3).tolist()
            x, y = random.uniform(-0.25, 0.25, 2).tolist()
            parts.box((rear + x * bed, y * width, floor + high / 2), (long, wide, high), SEAT)
    _mirrors(parts, back + cabin / 2 - windscreen, width, belt, body)
    wheels(parts, length, width, random.uniform(0.36, 0.42))
    return size


def _rounded_body(
    parts: PartList,
    random: np.random.Generator,
    plan: tuple[float, float],
    span: tuple[float, float],
    body: Material,
) -> None:
    """Adds a lower body with rounded corners: nested boxes, the longer ones narrower.

    Args:
        parts: list to which the boxes are added.
        random: generator of the radius of the corners.
        plan: length and width in metres.
        span: lower and upper edge in metres.
        body: paint.
    """
    (length, width), (sill, hood) = plan, span
    round_off = random.uniform(0.6, 1.4)
    waist = sill + (hood - sill) * 0.7
    for long, wide in (
        (1.0, 1 - 0.4 * round_off),
        (1 - 0.02 * round_off, 1 - 0.18 * round_off),
        (1 - 0.07 * round_off, 1.0),
    ):
        parts.box((0, 0, (sill + waist) / 2), (length * long, width * wide, waist - sill), body)
        parts.box(
            (0, 0, (waist + hood) / 2),
            (length * long, width * wide, hood - waist),
            body,
            taper=(0.95, 0.96),
        )


def _cabin(
    parts: PartList,
    random: np.random.Generator,
    glazing: tuple[float, float, float, float],
    span: tuple[float, float],
    width: float,
    body: Material,
    window: Material,
) -> None:
    """Adds windows, their pillars and a roof.

    Args:
        parts: list to which the parts are added.
        random: generator of the lean of the sides.
        glazing: centre and length of the cabin, lengths of windscreen and rear window, in metres.
        span: height of the waistline and of the roof in metres.
        width: width of the vehicle in metres.
        body: paint.
        window: glass.
    """
    (back, cabin, windscreen, rear), (belt, height) = glazing, span
    roof = cabin - windscreen - rear
    lean = random.uniform(0.74, 0.84) if height < 1.7 else random.uniform(0.82, 0.92)
    parts.box(
        (back, 0, (belt + height - 0.06) / 2),
        (cabin, width * 0.94, height - 0.06 - belt),
        window,
        taper=(roof / cabin, lean),
        shift=(rear - windscreen) / 2,
    )
    top = back + (rear - windscreen) / 2
    parts.box(
        (top, 0, height - 0.05), (roof * 1.04, width * 0.94 * lean, 0.1), body, taper=(0.9, 0.9)
    )
    # Pillars between the windows.
    for x in (back - cabin * 0.02, top - roof * 0.42):
        for y in (width * 0.42, -width * 0.42):
            parts.box((x, y, (belt + height) / 2), (0.1, 0.08, height - belt - 0.05), body)


def _mirrors(parts: PartList, x: float, width: float, belt: float, body: Material) -> None:
    for y in (width / 2 + 0.08, -width / 2 - 0.08):
        parts.box((x, y, belt + 0.05), (0.1, 0.16, 0.14), body)
