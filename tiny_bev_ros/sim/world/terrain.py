# SPDX-License-Identifier: Apache-2.0
"""The ground: its height, what it is made of, and where one may drive."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

CELL = 0.25


@dataclass(frozen=True)
class Terrain:
    """A map of the ground, rows along y and columns along x; it goes on beyond its edges.

    Attributes:
        corner: [x, y] of its lower edges, in metres.
        heights: (H,W) float32, in metres.
        reflectivity: (H,W) float32, part of the light that comes back.
        drivable: (H,W) bool, road surface.
        green: (H,W) bool, where plants grow.
    """

    corner: tuple[float, float]
    heights: np.ndarray
    reflectivity: np.ndarray
    drivable: np.ndarray
    green: np.ndarray

    def height(self, x: float, y: float) -> float:
        """In metres, between the middles of cells."""
        rows, cols = self.heights.shape
        u = min(max((x - self.corner[0]) / CELL - 0.5, 0.0), cols - 1.001)
        v = min(max((y - self.corner[1]) / CELL - 0.5, 0.0), rows - 1.001)
        col, row = int(u), int(v)
        u, v = u - col, v - row
        below, above = self.heights[row, col : col + 2], self.heights[row + 1, col : col + 2]
        near = float(below[0]) * (1 - u) + float(below[1]) * u
        return near * (1 - v) + (float(above[0]) * (1 - u) + float(above[1]) * u) * v

    def attitude(self, x: float, y: float, yaw: float, reach: float = 1.2) -> tuple[float, float]:
        """Pitch and roll of a thing with wheels that stands there, in radians."""
        cos, sin = math.cos(yaw) * reach, math.sin(yaw) * reach
        along = self.height(x + cos, y + sin) - self.height(x - cos, y - sin)
        across = self.height(x - sin / 2, y + cos / 2) - self.height(x + sin / 2, y - cos / 2)
        return -math.atan2(along, 2 * reach), math.atan2(across, reach)

    def at(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of the cells in which places lie, or which are nearest."""
        rows, cols = self.heights.shape
        col = np.clip(((x - self.corner[0]) / CELL).astype(np.int64), 0, cols - 1)
        row = np.clip(((y - self.corner[1]) / CELL).astype(np.int64), 0, rows - 1)
        return row, col


def flat(half: float = 80.0, reflectivity: float = 0.22) -> Terrain:
    """A level road as far as one sees."""
    size = int(2 * half / CELL)
    shape = (size, size)
    return Terrain(
        (-half, -half),
        np.zeros(shape, np.float32),
        np.full(shape, reflectivity, np.float32),
        np.ones(shape, np.bool_),
        np.zeros(shape, np.bool_),
    )
