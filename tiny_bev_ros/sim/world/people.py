# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""People on foot, who walk, stand or sit, and the limbs of which bodies are made.

Each function adds the parts of one object and returns the length, width and height of its label
box in metres: the extents of the body with its limbs.
"""

from __future__ import annotations

import math

import numpy as np

from tiny_bev_ros.sim.world.parts import CLOTH, SKIN, Material, PartList, Pose, Size

# Height in metres to which the proportions of bodies refer.
_USUAL_HEIGHT = 1.75
# Least length in metres of a box; annotators draw none as slim as a body that stands straight.
_LEAST_LENGTH = 0.5
# x and z in metres, in the plane of symmetry of a body.
Joint = tuple[float, float]


def cloth(random: np.random.Generator) -> Material:
    """Draws a cloth."""
    return Material(random.uniform(0.08, 0.6), surface=CLOTH)


def limb(
    parts: PartList,
    begin: Joint,
    end: Joint,
    y: float,
    size: tuple[float, float],
    material: Material,
) -> float:
    """Adds a bar between two joints.

    Args:
        parts: list to which the bar is added.
        begin: first joint.
        end: second joint.
        y: position across the body in metres.
        size: thickness along and across the body in metres.
        material: material of the bar.

    Returns:
        Largest distance of the bar from the origin along x, in metres.
    """
    along, up = end[0] - begin[0], end[1] - begin[1]
    parts.box(
        ((begin[0] + end[0]) / 2, y, (begin[1] + end[1]) / 2),
        (*size, math.hypot(along, up)),
        material,
        pitch=math.atan2(along, up),
    )
    return max(abs(begin[0]), abs(end[0])) + size[0] / 2


def head(parts: PartList, position: Joint, scale: float) -> None:
    """Adds a head around a position."""
    size = (0.21 * scale, 0.18 * scale, 0.25 * scale)
    parts.ball((position[0], 0, position[1]), size, Material(0.35, surface=SKIN))


def pedestrian(
    parts: PartList,
    random: np.random.Generator,
    pose: Pose,
    instance_id: int,
    *,
    walks: bool,
    pushes: bool = False,
) -> Size:
    """Adds a pedestrian, perhaps with bags.

    Args:
        parts: list to which the body is added.
        random: generator of stature, stance and clothes.
        pose: position between the feet, and heading.
        instance_id: index of the object.
        walks: True for a stride and swinging arms.
        pushes: True for hands on something ahead.
    """
    height = random.uniform(1.52, 1.94) if random.random() < 0.92 else random.uniform(1.0, 1.5)
    scale = height / _USUAL_HEIGHT
    girth = random.uniform(0.85, 1.2) * scale
    stride = random.uniform(0.55, 0.98) * scale if walks else random.uniform(0.0, 0.3)
    parts.stand(pose, instance_id)
    top, legs = cloth(random), cloth(random)
    # Feet reach farther ahead of the ankles than behind.
    middle = -0.06 * scale
    reach = _legs(parts, middle, stride, scale, girth, legs)
    parts.tube(
        (middle, 0, height * 0.65), (0.26 * girth, 0.42 * girth, height * 0.36), top, taper=1.05
    )
    head(parts, (middle + 0.03, height - 0.12 * scale), scale)
    reach = max(reach, _arms(parts, random, middle, stride, (scale, girth), top, pushes))
    if random.random() < 0.15:  # a long coat or a dress
        hem = random.uniform(0.15, 0.4) * height
        wide = (0.36 * girth + 0.25 * stride, 0.44 * girth, 0.6 * height - hem)
        parts.box((middle, 0, (hem + 0.6 * height) / 2), wide, top, taper=(0.65, 0.85))
    if random.random() < 0.2:  # a backpack
        parts.box((middle - 0.2 * girth, 0, height * 0.7), (0.18, 0.3, 0.42), cloth(random))
        reach = max(reach, 0.2 * girth - middle + 0.09)
    reach = max(reach, 0.13 * girth - middle)
    length, width = max(2 * reach, _LEAST_LENGTH), 0.58 * girth + random.uniform(0.04, 0.1)
    return length, width, height


def _legs(
    parts: PartList,
    middle: float,
    stride: float,
    scale: float,
    girth: float,
    material: Material,
) -> float:
    """Adds two legs with feet; returns the reach along x."""
    hip, knee, ankle = 0.86 * scale, 0.48 * scale, 0.08 * scale
    reach = 0.0
    for side in (1, -1):
        foot = middle + side * stride / 2
        # The knee behind bends as its heel rises.
        raised = ankle if side > 0 else ankle + 0.25 * max(stride - 0.3, 0.0)
        bent = middle + side * stride * (0.28 if side > 0 else 0.12) + 0.03 * scale
        y = side * 0.1 * girth
        thigh, shin = (0.17 * girth, 0.16 * girth), (0.12 * girth, 0.12 * girth)
        limb(parts, (middle, hip), (bent, knee), y, thigh, material)
        limb(parts, (bent, knee), (foot, raised), y, shin, material)
        shoe = foot + 0.06 * scale
        parts.box((shoe, y, raised - 0.04 * scale), (0.26 * scale, 0.1, 0.08 * scale), material)
        reach = max(reach, abs(shoe) + 0.13 * scale)
    return reach


def _arms(
    parts: PartList,
    random: np.random.Generator,
    middle: float,
    stride: float,
    build: tuple[float, float],
    material: Material,
    pushes: bool,
) -> float:
    """Adds two arms that swing, hang, hold or push something; returns the reach along x."""
    scale, girth = build
    swing = stride * random.uniform(0.3, 0.9)
    raised = pushes or random.random() < 0.15
    reach = 0.0
    for side in (1, -1):
        # Arms swing against the legs.
        upper = 0.35 if raised else -side * swing + 0.05
        lower = random.uniform(1.2, 2.0) if raised else upper + random.uniform(0.1, 0.5)
        if not pushes and random.random() < 0.1:  # a telephone
            upper, lower = 0.5, 2.2
        elbow = (
            middle + 0.3 * scale * math.sin(upper),
            1.42 * scale - 0.3 * scale * math.cos(upper),
        )
        hand = (
            elbow[0] + 0.34 * scale * math.sin(lower),
            elbow[1] - 0.34 * scale * math.cos(lower),
        )
        y = side * 0.24 * girth
        limb(parts, (middle, 1.42 * scale), elbow, y, (0.12 * scale, 0.1 * girth), material)
        reach = max(reach, limb(parts, elbow, hand, y, (0.09, 0.09), material))
        if not raised and random.random() < 0.12:  # a bag
            bag = random.uniform(0.2, 0.4)
            parts.box((hand[0], y, hand[1] - bag / 2), (bag, 0.12, bag), cloth(random))
            reach = max(reach, abs(hand[0]) + bag / 2)
    return reach


def sitting_person(
    parts: PartList, random: np.random.Generator, pose: Pose, instance_id: int
) -> Size:
    """Adds a person on a seat of 0.45 m, which is not added."""
    scale = random.uniform(0.88, 1.08)
    girth = random.uniform(0.85, 1.2) * scale
    parts.stand(pose, instance_id)
    top, legs = cloth(random), cloth(random)
    hip, knee = (-0.2, 0.53), (0.25 * scale, 0.52)
    foot = knee[0] + random.uniform(-0.1, 0.15)
    for side in (1, -1):
        y = side * 0.11 * girth
        limb(parts, hip, knee, y, (0.16, 0.15), legs)
        limb(parts, knee, (foot, 0.05), y, (0.12, 0.12), legs)
        parts.box((foot + 0.06, y, 0.04), (0.26, 0.1, 0.08), legs)
        limb(parts, (-0.2, 1.0), (-0.05, 0.72), side * 0.23 * girth, (0.1, 0.1), top)
        limb(parts, (-0.05, 0.72), (0.18, 0.66), side * 0.2 * girth, (0.09, 0.09), top)
    parts.tube((-0.2, 0, 0.78), (0.27 * girth, 0.42 * girth, 0.6 * scale), top)
    height = 0.78 + 0.52 * scale
    head(parts, (-0.17, height - 0.12 * scale), scale)
    return 2 * max(foot + 0.19, 0.4), 0.6 * girth + 0.04, height
