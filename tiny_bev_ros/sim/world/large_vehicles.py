# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Vans, trucks, buses and trailers; functions and sizes as in `cars`."""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.sim.world.cars import SEAT, TYRE, glass, paint, wheels
from tiny_bev_ros.sim.world.parts import PartList, Pose, Size


def van(
    parts: PartList, random: np.random.Generator, pose: Pose, instance_id: int, size: Size
) -> Size:
    """Adds a van, from small delivery van to minibus."""
    length, width, height = size
    parts.stand(pose, instance_id)
    body, window = paint(random), glass(random)
    nose = random.uniform(0.5, 1.0)
    sill = random.uniform(0.2, 0.3)
    belt = min(height * 0.55, 1.2)
    for long, wide in ((1.0, 0.88), (0.96, 1.0)):
        parts.box(
            (0, 0, (sill + belt) / 2), (length * long, width * wide, belt - sill), body,
            taper=(0.98, 0.98),
        )  # fmt: skip
    hold = length - nose
    slope = random.uniform(0.2, 0.5)
    sides = window if random.random() < 0.4 else body
    parts.box(
        (-nose / 2, 0, (belt + height) / 2),
        (hold, width * 0.97, height - belt),
        sides,
        taper=((hold - slope) / hold, 0.93),
        shift=-slope / 2,
    )
    parts.box((-nose / 2 - slope / 2, 0, height - 0.06), (hold - slope, width * 0.9, 0.12), body)
    parts.box((-hold * 0.1, 0, height * 0.5), (hold * 0.6, width * 0.7, height * 0.5), SEAT)
    wheels(parts, length, width, 0.34)
    return size


def truck(
    parts: PartList, random: np.random.Generator, pose: Pose, instance_id: int, size: Size
) -> Size:
    """Adds a truck with a box or an open bed."""
    length, width, height = size
    parts.stand(pose, instance_id)
    body, load = paint(random), paint(random)
    cab = random.uniform(1.6, 2.3)
    cab_height = min(height, random.uniform(2.4, 3.0))
    front = length / 2 - cab / 2
    parts.box((front, 0, (0.5 + cab_height) / 2), (cab, width * 0.97, cab_height - 0.5), body,
              taper=(0.92, 0.96), shift=-0.05)  # fmt: skip
    bed = length - cab - 0.4
    rear = -length / 2 + bed / 2
    parts.box((rear, 0, 0.85), (bed, width * 0.5, 0.3), TYRE)
    if random.random() < 0.7:
        parts.box((rear, 0, (1.0 + height) / 2), (bed, width, height - 1.0), load)
    else:
        height = cab_height
        parts.box((rear, 0, 1.1), (bed, width, 0.2), load)
        parts.box((rear, 0, 1.5), (bed * 0.8, width * 0.8, random.uniform(0.3, 1.0)), load)
    wheels(parts, length, width, 0.48)
    return length, width, height


def bus(
    parts: PartList, random: np.random.Generator, pose: Pose, instance_id: int, size: Size
) -> Size:
    """Adds a city bus."""
    length, width, height = size
    parts.stand(pose, instance_id)
    body = paint(random)
    parts.box((0, 0, 0.75), (length, width, 0.9), body)
    parts.box((0, 0, 1.85), (length, width * 0.98, 1.3), glass(random), taper=(0.99, 0.98))
    for x in np.linspace(-0.46, 0.46, 8) * length:
        for y in (width * 0.48, -width * 0.48):
            parts.box((float(x), y, 1.85), (0.18, 0.06, 1.3), body)
    parts.box((0, 0, height - 0.35), (length, width * 0.97, 0.7), body, taper=(0.98, 0.9))
    parts.box((0, 0, 1.3), (length * 0.85, width * 0.6, 1.0), SEAT)
    wheels(parts, length, width, 0.48)
    return size


def trailer(
    parts: PartList, random: np.random.Generator, pose: Pose, instance_id: int, size: Size
) -> Size:
    """Adds a trailer for cars, flat or boxed; its drawbar is inside the label box."""
    length, width, height = size
    parts.stand(pose, instance_id)
    body = paint(random)
    bar = random.uniform(0.7, 1.1)
    bed, rear = length - bar, -bar / 2
    parts.box((length / 2 - bar / 2, 0, 0.45), (bar, 0.12, 0.1), SEAT)
    parts.box((rear, 0, 0.52), (bed, width * 0.8, 0.12), body)
    if height > 1.3:
        parts.box((rear, 0, (0.5 + height) / 2), (bed, width * 0.84, height - 0.5), body,
                  taper=(0.95, 0.95))  # fmt: skip
    else:
        for y in (width * 0.4, -width * 0.4):
            parts.box((rear, y, (0.5 + height) / 2), (bed, 0.05, height - 0.5), body)
        for x in (0.48, -0.48):
            parts.box((rear + x * bed, 0, (0.5 + height) / 2), (0.05, width * 0.8, height - 0.5),
                      body)  # fmt: skip
    for y in (width / 2 - 0.1, -width / 2 + 0.1):
        parts.box((rear - 0.1, y, 0.3), (0.52, 0.18, 0.6), TYRE)
    return size
