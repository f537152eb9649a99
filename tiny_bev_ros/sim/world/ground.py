# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Ground of a street: slopes, kerbs, banks and road surface."""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.sim.world.plan import BEGIN, END, Plan
from tiny_bev_ros.sim.world.terrain import CELL, Terrain

# Extent on either side of the road, in metres.
_HALF = 64.0


def make_terrain(random: np.random.Generator, plan: Plan) -> Terrain:
    """Makes the ground of a street."""
    rows, cols = int(2 * _HALF / CELL), int((END - BEGIN) / CELL)
    x = (BEGIN + (np.arange(cols) + 0.5) * CELL).astype(np.float32)
    y = (-_HALF + (np.arange(rows) + 0.5) * CELL).astype(np.float32)
    offset = y[:, None] - (plan.bend * x * x).astype(np.float32)[None, :]

    wave, phase = random.uniform(40, 150), random.uniform(0, 2 * np.pi)
    profile = random.normal(0, 0.012) * x + random.uniform(0, 0.35) * np.sin(
        2 * np.pi * x / wave + phase
    )
    heights = (profile - profile[np.abs(x).argmin()])[None, :].astype(np.float32)
    heights = heights + np.float32(random.normal(0, 0.008)) * offset
    # Distance to the nearest side road, in metres; kerbs and banks fade out towards it.
    gap = np.full((rows, cols), 1e3, np.float32)
    for crossing in plan.crossings:
        np.minimum(gap, crossing.gap(x[None, :], offset), out=gap)
    asphalt, grass = random.uniform(0.1, 0.28), random.uniform(0.25, 0.5)
    reflectivity = np.full((rows, cols), asphalt, np.float32)
    drivable = np.ones((rows, cols), np.bool_)
    green = np.zeros((rows, cols), np.bool_)
    for side in (plan.left, plan.right):
        here = slice(None, rows // 2) if side.sign < 0 else slice(rows // 2, None)
        out = offset[here] * np.float32(side.sign)
        road, front = np.float32(side.road), np.float32(side.front)
        crown = np.float32(0.015) * np.minimum(np.maximum(out, 0), road)
        # A pavement without a kerb counts as drivable: no LiDAR can distinguish it from the road.
        edge = road if side.kerb else front
        free = gap[here] > 0
        beside, soft = (out > edge) & free, (out > front) & free
        kerb = np.where(beside, np.float32(side.kerb), np.float32(0))
        heights[here] += kerb - crown
        if side.bank:
            begin = front + np.float32(random.uniform(0, 3))
            rise = np.clip((out - begin) * np.float32(side.steepness), 0, abs(side.bank))
            if plan.crossings:
                rise *= np.clip(gap[here] / 5, 0, 1)
            heights[here] += np.copysign(rise, np.float32(side.bank))
        if side.open:
            drivable[here] &= ~beside | (out > front)
        else:
            drivable[here] &= ~beside
            rough = random.standard_normal(soft.shape, np.float32)
            rough *= np.float32(random.uniform(0.015, 0.06))
            heights[here] += rough * soft
            reflectivity[here][soft] = grass
            green[here] = soft
        reflectivity[here][beside & ~soft] = random.uniform(0.2, 0.4)
    _paint_lanes(plan, x, offset, reflectivity)
    return Terrain((BEGIN, -_HALF), heights, reflectivity, drivable, green)


def _paint_lanes(plan: Plan, x: np.ndarray, offset: np.ndarray, reflectivity: np.ndarray) -> None:
    dashes = (x % 9 < 3)[None, :] & (np.abs(offset) < CELL / 2)
    reflectivity[dashes] = 0.75
