# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Bicycles, scooters and motorcycles, with and without riders.

Functions and sizes as in `people`. Riders of all of them are cyclists to a detector; without a
rider, and pushed by someone, they are no object of any class.
"""

from __future__ import annotations

import math

import numpy as np

from tiny_bev_ros.sim.world.cars import SEAT, TYRE, paint
from tiny_bev_ros.sim.world.parts import GLASS, Material, PartList, Pose, Size
from tiny_bev_ros.sim.world.people import Joint, cloth, head, limb

_RIM = Material(0.2, dropout=0.05)


def bicycle(
    parts: PartList,
    random: np.random.Generator,
    pose: Pose,
    instance_id: int,
    length: float = 1.75,
) -> Size:
    """Adds a bicycle without rider, perhaps with panniers, a basket or a child's seat."""
    parts.stand(pose, instance_id)
    steel = Material(random.uniform(0.1, 0.6))
    radius = 0.34
    front, rear = length / 2 - radius, radius - length / 2
    # Guards and reflectors close some wheels more than the spokes alone.
    spokes = Material(0.25, density=random.uniform(0.3, 0.7))
    for x in (front, rear):
        _spoked_wheel(parts, x, radius, spokes)
    crank, saddle, bars = (rear + 0.43, 0.3), (rear + 0.28, 0.92), (front - 0.18, 1.0)
    thick = (0.07, 0.06)
    limb(parts, crank, saddle, 0, thick, steel)
    limb(parts, crank, (bars[0] - 0.02, 0.72), 0, thick, steel)
    limb(parts, (front, radius), bars, 0, thick, steel)
    limb(parts, (crank[0] - 0.1, 0.7), (bars[0] - 0.03, 0.8), 0, thick, steel)
    limb(parts, (rear, radius), (crank[0] - 0.09, 0.72), 0, (0.05, 0.1), steel)
    parts.box((crank[0] - 0.15, -0.05, 0.31), (0.5, 0.06, 0.16), steel)
    parts.box((saddle[0], 0, 0.97), (0.26, 0.16, 0.08), TYRE)
    width = random.uniform(0.5, 0.66)
    parts.box((bars[0], 0, 1.03), (0.1, width, 0.07), steel)
    draw = random.random()
    if draw < 0.25:  # panniers
        for y in (0.15, -0.15):
            parts.box((rear - 0.02, y, 0.55), (0.34, 0.14, 0.36), cloth(random))
    elif draw < 0.45:  # a basket
        parts.box((front + 0.02, 0, 0.95), (0.3, 0.34, 0.26), Material(0.3, density=0.6))
    elif draw < 0.52:  # a child's seat
        parts.box((rear - 0.02, 0, 1.0), (0.3, 0.32, 0.5), SEAT, taper=(0.6, 0.9))
    if random.random() < 0.6:  # a carrier
        parts.box((rear, 0, 0.74), (0.4, 0.14, 0.04), steel)
    return length, width, 1.08


def cyclist(parts: PartList, random: np.random.Generator, pose: Pose, instance_id: int) -> Size:
    """Adds a cyclist."""
    length = random.uniform(1.65, 1.9)
    _, width, _ = bicycle(parts, random, pose, instance_id, length)
    scale = random.uniform(0.92, 1.08)
    hip = (0.62 - length / 2, 0.96)
    # City bicycles have bars that are high and near the rider, who sits upright.
    upright = random.random() < 0.6
    bars = (length / 2 - (0.66 if upright else 0.52), 1.14 if upright else 1.06)
    lean = random.uniform(0.0, 0.3) if upright else random.uniform(0.3, 0.8)
    joints = hip, bars, (0.77 - length / 2, 0.28)
    wide, height = _rider(parts, random, joints, scale, lean, pedals=True)
    return length, max(width, wide), height


def motorcycle(
    parts: PartList,
    random: np.random.Generator,
    pose: Pose,
    instance_id: int,
    *,
    ridden: bool = False,
) -> Size:
    """Adds a motorcycle or a motor scooter, perhaps with its rider."""
    parts.stand(pose, instance_id)
    body = paint(random)
    scooter = random.random() < 0.55
    length = random.uniform(1.7, 1.95) if scooter else random.uniform(1.95, 2.25)
    radius = 0.23 if scooter else 0.31
    front, rear = length / 2 - radius, radius - length / 2
    for x in (front, rear):
        _solid_wheel(parts, x, radius)
    bars, width = (front - 0.25, 1.05), random.uniform(0.64, 0.82)
    limb(parts, (front, radius), bars, 0, (0.12, 0.16), body)
    parts.box((bars[0], 0, 1.05), (0.1, width, 0.09), SEAT)
    if scooter:
        limb(parts, (front - 0.12, 0.3), (bars[0], 0.95), 0, (0.1, 0.42), body)
        parts.box(((front + rear) / 2 + 0.1, 0, 0.3), (0.5, 0.34, 0.14), body)
        parts.box((rear + 0.12, 0, 0.56), (0.8, 0.36, 0.42), body, taper=(0.85, 0.8))
    else:
        parts.box((0, 0, 0.45), (0.6, 0.4, 0.42), SEAT)
        parts.box((0.12, 0, 0.83), (0.55, 0.34, 0.28), body, taper=(0.7, 0.8))
        limb(parts, (-0.1, 0.5), (rear, radius), 0, (0.12, 0.16), SEAT)
    parts.box((rear + 0.2, 0, 0.8), (0.7, 0.3, 0.12), SEAT)
    if random.random() < 0.3:  # a top case
        parts.box((rear - 0.05, 0, 1.02), (0.36, 0.42, 0.34), body)
    if random.random() < 0.3:  # a windscreen
        pane = Material(0.1, 0.3, 0.5, surface=GLASS)
        limb(parts, (bars[0] + 0.12, 1.0), (bars[0], 1.4), 0, (0.04, 0.4), pane)
    if not ridden:
        return length, width, 1.2
    hip = (rear + 0.3, 0.9)
    feet = ((front + rear) / 2 + (0.15 if scooter else -0.05), 0.38)
    scale, lean = random.uniform(0.95, 1.08), random.uniform(0.05, 0.4)
    wide, height = _rider(parts, random, (hip, bars, feet), scale, lean, pedals=False)
    return length, max(width, wide, 0.66), height


def motorcyclist(
    parts: PartList, random: np.random.Generator, pose: Pose, instance_id: int
) -> Size:
    """Adds a motorcycle or a motor scooter with its rider."""
    return motorcycle(parts, random, pose, instance_id, ridden=True)


def kick_scooter(
    parts: PartList, random: np.random.Generator, pose: Pose, instance_id: int
) -> Size:
    """Adds an electric kick scooter without rider."""
    parts.stand(pose, instance_id)
    parts.box((0, 0, 0.13), (1.0, 0.16, 0.07), TYRE)
    for x in (-0.48, 0.48):
        parts.box((x, 0, 0.11), (0.22, 0.06, 0.22), TYRE)
    limb(parts, (0.48, 0.2), (0.36, 1.1), 0, (0.07, 0.07), Material(0.4))
    parts.box((0.36, 0, 1.12), (0.05, 0.48, 0.05), TYRE)
    return 1.18, 0.48, 1.15


def _rider(
    parts: PartList,
    random: np.random.Generator,
    joints: tuple[Joint, Joint, Joint],
    scale: float,
    lean: float,
    *,
    pedals: bool,
) -> tuple[float, float]:
    """Adds a rider to the thing that was begun.

    Args:
        parts: list to which the body is added.
        random: generator of stance and clothes.
        joints: hip, hands and feet.
        scale: size relative to an adult of 1.75 m.
        lean: angle of the back, forward from upright, in radians.
        pedals: True if one foot is below the other.

    Returns:
        Width of the rider and height of the head's top, in metres.
    """
    hip, hands, feet = joints
    top, legs = cloth(random), cloth(random)
    torso, girth = 0.52 * scale, random.uniform(0.9, 1.25) * scale
    shoulders = (hip[0] + torso * math.sin(lean), hip[1] + torso * math.cos(lean))
    limb(parts, hip, shoulders, 0, (0.28 * girth, 0.42 * girth), top)
    above = shoulders[1] + 0.18 * scale
    head(parts, (shoulders[0] + 0.1 * math.sin(lean), above), 1.25 * scale)
    crank = random.uniform(0, 2 * math.pi)
    for side in (1, -1):
        turn = 0.17 * side if pedals else 0.0
        foot = (feet[0] + turn * math.cos(crank), feet[1] + turn * math.sin(crank))
        # The knee lies ahead of the middle between hip and foot.
        knee = ((hip[0] + foot[0]) / 2 + 0.24, (hip[1] + foot[1]) / 2 + 0.14)
        y = side * (0.13 if pedals else 0.2)
        limb(parts, hip, knee, y, (0.18, 0.17), legs)
        limb(parts, knee, foot, y, (0.13, 0.13), legs)
        parts.box((foot[0] + 0.06, y, foot[1] - 0.03), (0.27, 0.1, 0.09), legs)
        elbow = ((shoulders[0] + hands[0]) / 2, (shoulders[1] + hands[1]) / 2 - 0.1)
        limb(parts, shoulders, elbow, side * 0.25 * girth, (0.12 * girth, 0.11), top)
        limb(parts, elbow, hands, side * 0.24 * scale, (0.09, 0.09), top)
    if pedals and random.random() < 0.2:  # a coat over the saddle
        x = hip[0] - 0.02
        parts.box((x, 0, hip[1] - 0.05), (0.42, 0.4 * girth, 0.36), top, taper=(0.7, 0.9))
    if random.random() < 0.3:  # a backpack
        x, z = (hip[0] + shoulders[0]) / 2, (hip[1] + shoulders[1]) / 2 + 0.05
        parts.box((x - 0.2, 0, z), (0.18, 0.32, 0.42), cloth(random), pitch=lean)
    return 0.5 * girth + 0.08, above + 0.16 * scale


def _spoked_wheel(parts: PartList, x: float, radius: float, spokes: Material) -> None:
    """Adds a tyre of eight pieces around spokes."""
    parts.box((x, 0, radius), (1.5 * radius, 0.05, 1.5 * radius), spokes)
    middle = radius - 0.03
    for index in range(8):
        angle = index * math.pi / 4
        parts.box(
            (x + middle * math.sin(angle), 0, radius + middle * math.cos(angle)),
            (0.83 * radius, 0.06, 0.07),
            _RIM,
            pitch=angle,
        )


def _solid_wheel(parts: PartList, x: float, radius: float) -> None:
    """Adds a wheel of two crossed boxes."""
    wide = 2 * radius
    for size in ((wide, 0.13, 0.55 * wide), (0.55 * wide, 0.13, wide)):
        parts.box((x, 0, radius), size, TYRE)
    parts.box((x, 0, radius), (0.82 * wide, 0.12, 0.82 * wide), TYRE)
