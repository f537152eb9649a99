# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Convex parts, from which everything in a simulated world is built.

A part is a frustum (a box whose top may be smaller and shifted), an eight-sided tube, or a
ball of twelve faces. It may be porous, as leaves and glass are: some rays stop at it, the
others pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

# Length, width and height in metres.
Size = tuple[float, float, float]
FRUSTUM, TUBE, BALL = 0, 1, 2
# Surfaces, which differ in colour in images; STONE is the default.
STONE, PAINT, GLASS, RUBBER, CLOTH, SKIN, LEAVES, WOOD = range(8)

PART = np.dtype(
    [
        ('kind', np.int32),
        # Centre in metres, and attitude in radians: yaw, then pitch, then roll.
        ('position', np.float32, 3),
        ('angles', np.float32, 3),
        ('size', np.float32, 3),
        # Size of the top relative to the bottom, along x and y, and its shift along x.
        ('taper', np.float32, 2),
        ('shift', np.float32),
        # Fraction of rays that stop, and the largest depth in metres at which they stop.
        ('density', np.float32),
        ('depth', np.float32),
        # Fraction of light that returns, and probability that none does.
        ('reflectivity', np.float32),
        ('dropout', np.float32),
        # Surface for a camera.
        ('surface', np.int32),
        # Index of the object that the part belongs to, -1 for none.
        ('instance_id', np.int32),
    ]
)


@dataclass(frozen=True)
class Material:
    """Optical properties of a part.

    Attributes:
        reflectivity: fraction of light that returns, 0 to 1.
        dropout: probability that a stopped ray gives no return.
        density: fraction of rays that stop; the others pass.
        depth: depth that a ray may reach inside, in metres.
        surface: surface for a camera.
    """

    reflectivity: float
    dropout: float = 0.0
    density: float = 1.0
    depth: float = 0.0
    surface: int = STONE


@dataclass(frozen=True)
class Pose:
    """Pose of a thing: position in metres; yaw, pitch and roll in radians."""

    x: float
    y: float
    z: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0

    def with_yaw(self, yaw: float) -> Pose:
        """Returns the pose with another yaw."""
        return replace(self, yaw=yaw)

    def rotation(self) -> tuple[Size, Size, Size]:
        """Returns the rows of the rotation from the thing's frame to the world."""
        return _rotation_rows(self.yaw, self.pitch, self.roll)


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Returns a (3,3) float64 rotation: yaw about z, then pitch about y, then roll about x."""
    return np.array(_rotation_rows(yaw, pitch, roll))


def _rotation_rows(yaw: float, pitch: float, roll: float) -> tuple[Size, Size, Size]:
    cy, sy = math.cos(yaw), math.sin(yaw)
    cp, sp = math.cos(pitch), math.sin(pitch)
    cr, sr = math.cos(roll), math.sin(roll)
    return (
        (cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr),
        (sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr),
        (-sp, cp * sr, cp * cr),
    )


class PartList:
    """List of parts; the parts of one thing are given in its own frame."""

    def __init__(self) -> None:
        self._rows: list[tuple] = []
        self._stand(Pose(0.0, 0.0), -1)

    @property
    def pose(self) -> Pose:
        """Pose of the thing that was begun last."""
        return self._pose

    def stand(self, pose: Pose, instance_id: int = -1) -> PartList:
        """Begins a thing: parts that follow belong to it and lie in its frame; returns self."""
        self._stand(pose, instance_id)
        return self

    def box(
        self,
        position: tuple[float, float, float],
        size: tuple[float, float, float],
        material: Material,
        *,
        taper: tuple[float, float] = (1.0, 1.0),
        shift: float = 0.0,
        yaw: float = 0.0,
        pitch: float = 0.0,
    ) -> None:
        """Adds a frustum centred at ``position``: size at the bottom, taper of the top."""
        self._add(FRUSTUM, position, size, material, taper, shift, yaw, pitch)

    def tube(
        self,
        position: tuple[float, float, float],
        size: tuple[float, float, float],
        material: Material,
        *,
        taper: float = 1.0,
    ) -> None:
        """Adds an upright tube of eight sides."""
        self._add(TUBE, position, size, material, (taper, taper), 0.0, 0.0, 0.0)

    def ball(
        self,
        position: tuple[float, float, float],
        size: tuple[float, float, float],
        material: Material,
        *,
        yaw: float = 0.0,
    ) -> None:
        """Adds a ball of twelve faces, stretched to a size."""
        self._add(BALL, position, size, material, (1.0, 1.0), 0.0, yaw, 0.0)

    def array(self) -> np.ndarray:
        """Returns the parts, (S,) PART."""
        return np.array(self._rows, PART)

    def _stand(self, pose: Pose, instance_id: int) -> None:
        self._pose, self._instance_id = pose, instance_id
        self._turn = pose.rotation()

    def _add(
        self,
        kind: int,
        position: tuple[float, float, float],
        size: tuple[float, float, float],
        material: Material,
        taper: tuple[float, float],
        shift: float,
        yaw: float,
        pitch: float,
    ) -> None:
        x, y, z = position
        pose = self._pose
        (ax, bx, cx), (ay, by, cy), (az, bz, cz) = self._turn
        middle = (
            ax * x + bx * y + cx * z + pose.x,
            ay * x + by * y + cy * z + pose.y,
            az * x + bz * y + cz * z + pose.z,
        )
        self._rows.append(
            (
                kind,
                middle,
                (pose.yaw + yaw, pose.pitch + pitch, pose.roll),
                size,
                taper,
                shift,
                material.density,
                material.depth,
                material.reflectivity,
                material.dropout,
                material.surface,
                self._instance_id,
            )
        )


def joined(arrays: Iterable[np.ndarray]) -> np.ndarray:
    """Concatenates arrays of parts."""
    return np.concatenate([np.empty(0, PART), *arrays])


def attitudes(angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (S,3,3) float32 rotations: of pitch and roll alone, and with yaw."""
    cos, sin = np.cos(angles), np.sin(angles)
    lean = np.zeros((len(angles), 3, 3), np.float32)
    lean[:, 0, 0], lean[:, 0, 1] = cos[:, 1], sin[:, 1] * sin[:, 2]
    lean[:, 0, 2] = sin[:, 1] * cos[:, 2]
    lean[:, 1, 1], lean[:, 1, 2] = cos[:, 2], -sin[:, 2]
    lean[:, 2, 0], lean[:, 2, 1] = -sin[:, 1], cos[:, 1] * sin[:, 2]
    lean[:, 2, 2] = cos[:, 1] * cos[:, 2]
    turn = lean.copy()
    turn[:, 0] = cos[:, :1] * lean[:, 0] - sin[:, :1] * lean[:, 1]
    turn[:, 1] = sin[:, :1] * lean[:, 0] + cos[:, :1] * lean[:, 1]
    return lean, turn


def half_sides(parts: np.ndarray) -> np.ndarray:
    """Returns (S,3) float64 half extents of a box around each part, in its own frame."""
    half = parts['size'] / 2 * np.where(parts['kind'] == BALL, 1.25, 1.09)[:, None]
    half[:, :2] *= np.maximum(parts['taper'], 1)
    half[:, 0] += np.abs(parts['shift'])
    return half
