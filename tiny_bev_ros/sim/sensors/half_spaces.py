# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Convex parts as the half-spaces between their faces, compiled by numba."""

from __future__ import annotations

import math

import numpy as np

from tiny_bev_ros.numba_jit import compiler
from tiny_bev_ros.sim.world.parts import FRUSTUM, TUBE

_GOLD = (1 + math.sqrt(5)) / 2
_LENGTH = math.hypot(1, _GOLD)
# Normals of a dodecahedron.
_FACES = np.array(
    [
        turn
        for one in (-1 / _LENGTH, 1 / _LENGTH)
        for gold in (-_GOLD / _LENGTH, _GOLD / _LENGTH)
        for turn in ((0, one, gold), (one, gold, 0), (gold, 0, one))
    ],
    np.float32,
)
_EIGHT = np.array(
    [(math.cos(i * math.pi / 4 + 0.3), math.sin(i * math.pi / 4 + 0.3)) for i in range(8)],
    np.float32,
)
PLANES = 12

# Options of all kernels here: no division needs to be exact to the last bit.
jit = compiler(fastmath={'contract', 'arcp', 'nsz'})


@jit
def _own_planes(
    kind: int,
    size: np.ndarray,
    taper: np.ndarray,
    shift: float,
    planes: np.ndarray,
) -> int:
    """Writes half-spaces [n, d] of a part in its own frame; returns their number."""
    long, width, height = size
    planes[:] = 0
    if kind == FRUSTUM:
        for side in range(2):
            sign = 1 - 2 * side
            slant = sign * shift + long / 2 * (taper[0] - 1)
            planes[side, 0], planes[side, 2] = sign, -slant / height
            planes[side, 3] = long / 2 + slant / 2
            slant = width / 2 * (taper[1] - 1)
            planes[2 + side, 1], planes[2 + side, 2] = sign, -slant / height
            planes[2 + side, 3] = width / 2 + slant / 2
            planes[4 + side, 2], planes[4 + side, 3] = sign, height / 2
        return 6
    if kind == TUBE:
        slant = taper[0] - 1
        for j in range(8):
            planes[j, 0], planes[j, 1] = 2 * _EIGHT[j, 0] / long, 2 * _EIGHT[j, 1] / width
            planes[j, 2], planes[j, 3] = -slant / height, 1 + slant / 2
        for side in range(2):
            planes[8 + side, 2], planes[8 + side, 3] = 1 - 2 * side, height / 2
        return 10
    for j in range(12):
        planes[j, :3] = 2 * _FACES[j] / size
        planes[j, 3] = 0.95
    return 12


@jit
def part_planes(
    kind: np.ndarray,
    position: np.ndarray,
    turn: np.ndarray,
    size: np.ndarray,
    taper: np.ndarray,
    shift: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the half-spaces n.x <= d that intersect in each part.

    Args:
        kind: (S,) kind: FRUSTUM, TUBE or BALL.
        position: (S,3) centres, relative to the sensor.
        turn: (S,3,3) attitudes.
        size: (S,3) size at the bottom.
        taper: (S,2) taper of the top.
        shift: (S,) shift of the top.

    Returns:
        (S,PLANES,4) float32 [n, d], n of length 1, and (S,) number of planes.
    """
    planes = np.zeros((len(kind), PLANES, 4), np.float32)
    counts = np.zeros(len(kind), np.int32)
    own = np.zeros((PLANES, 4), np.float32)
    for i in range(len(kind)):
        counts[i] = _own_planes(kind[i], size[i], taper[i], shift[i], own)
        for j in range(counts[i]):
            square, offset = np.float32(0), own[j, 3]
            for k in range(3):
                normal = np.float32(0)
                for m in range(3):
                    normal += turn[i, k, m] * own[j, m]
                planes[i, j, k] = normal
                square += normal * normal
                offset += normal * position[i, k]
            planes[i, j, 3] = offset
            planes[i, j] /= math.sqrt(square)
    return planes, counts
