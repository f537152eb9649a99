# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Terrain: height, reflectivity and drivable area of the ground."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

CELL = 0.25


@dataclass(frozen=True)
class Terrain:
    """Map of the ground, rows along y and columns along x; edge cells extend outward.

    Attributes:
        corner: [x, y] of the lower edges, in metres.
        heights: (H,W) float32 heights in metres.
        reflectivity: (H,W) float32 fraction of light that returns.
        drivable: (H,W) bool, True for road surface.
        green: (H,W) bool, True where plants grow.
    """

    corner: tuple[float, float]
    heights: np.ndarray
    reflectivity: np.ndarray
    drivable: np.ndarray
    green: np.ndarray

    def height(self, x: float, y: float) -> float:
        """Returns the height in metres, interpolated between cell centres."""
        rows, cols = self.heights.shape
        x, y = float(x), float(y)  # faster than scalars of NumPy
        u = min(max((x - self.corner[0]) / CELL - 0.5, 0.0), cols - 1.001)
        v = min(max((y - self.corner[1]) / CELL - 0.5, 0.0), rows - 1.001)
        col, row = int(u), int(v)
        u, v = u - col, v - row
        item = self.heights.item
        near = item(row, col) * (1 - u) + item(row, col + 1) * u
        far = item(row + 1, col) * (1 - u) + item(row + 1, col + 1) * u
        return near * (1 - v) + far * v

    def attitude(self, x: float, y: float, yaw: float, reach: float = 1.2) -> tuple[float, float]:
        """Returns pitch and roll of a wheeled thing at a position, in radians."""
        cos, sin = math.cos(yaw) * reach, math.sin(yaw) * reach
        along = self.height(x + cos, y + sin) - self.height(x - cos, y - sin)
        across = self.height(x - sin / 2, y + cos / 2) - self.height(x + sin / 2, y - cos / 2)
        return -math.atan2(along, 2 * reach), math.atan2(across, reach)

    def at(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns row and column of the cells that hold positions, or of the nearest cells."""
        rows, cols = self.heights.shape
        col = np.clip(((x - self.corner[0]) / CELL).astype(np.int64), 0, cols - 1)
        row = np.clip(((y - self.corner[1]) / CELL).astype(np.int64), 0, rows - 1)
        return row, col


def flat(half: float = 80.0, reflectivity: float = 0.22) -> Terrain:
    """Returns a level road without kerbs."""
    size = int(2 * half / CELL)
    shape = (size, size)
    return Terrain(
        (-half, -half),
        np.zeros(shape, np.float32),
        np.full(shape, reflectivity, np.float32),
        np.ones(shape, np.bool_),
        np.zeros(shape, np.bool_),
    )
