# SPDX-License-Identifier: Apache-2.0
"""The convex parts of which everything in a simulated world is made.

A part is a frustum (a box whose top may be smaller and shifted), an eight-sided tube, or a
ball of twelve faces. It may be porous, as leaves and glass are: only some of the rays that
meet it come back, the others go on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

FRUSTUM, TUBE, BALL = 0, 1, 2
# Surfaces, for those who see colours; anything else is STONE.
STONE, PAINT, GLASS, RUBBER, CLOTH, SKIN, LEAVES, WOOD = range(8)

PART = np.dtype(
    [
        ('kind', np.int32),
        # Its middle in metres and its attitude in radians, yaw before pitch before roll.
        ('place', np.float32, 3),
        ('angles', np.float32, 3),
        ('size', np.float32, 3),
        # Of the top, as part of the bottom, along both sides; how far it is shifted along x.
        ('taper', np.float32, 2),
        ('shift', np.float32),
        # Part of the rays that stop at it, and how far they may get into it before, in metres.
        ('density', np.float32),
        ('depth', np.float32),
        # Part of the light that comes back, and probability that none does.
        ('reflectivity', np.float32),
        ('dropout', np.float32),
        # What it looks like to a camera: one of the surfaces.
        ('surface', np.int32),
        # Index of the object to which it belongs, -1 for none.
        ('owner', np.int32),
    ]
)


@dataclass(frozen=True)
class Material:
    """What a part is made of.

    Attributes:
        reflectivity: part of the light that comes back, 0 to 1.
        dropout: probability that a ray that stops gives no return.
        density: part of the rays that stop; the others go on.
        depth: how far a ray may get into it, in metres.
        surface: what it looks like to a camera.
    """

    reflectivity: float
    dropout: float = 0.0
    density: float = 1.0
    depth: float = 0.0
    surface: int = STONE


@dataclass(frozen=True)
class Pose:
    """Where a thing stands: a place in metres, yaw, pitch and roll in radians."""

    x: float
    y: float
    z: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0

    def rotation(self) -> np.ndarray:
        """(3,3) from the thing's frame to the world's."""
        return rotation(self.yaw, self.pitch, self.roll)


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """(3,3) float64 of yaw about z, then pitch about y, then roll about x (REP-103)."""
    cy, sy = math.cos(yaw), math.sin(yaw)
    cp, sp = math.cos(pitch), math.sin(pitch)
    cr, sr = math.cos(roll), math.sin(roll)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


class PartList:
    """Collects parts; those of one thing are given in its own frame."""

    def __init__(self) -> None:
        self._rows: list[tuple] = []
        self._stand(Pose(0.0, 0.0), -1)

    def stand(self, pose: Pose, owner: int = -1) -> PartList:
        """Parts that follow belong to a thing that stands there; returns itself."""
        self._stand(pose, owner)
        return self

    def box(
        self,
        place: tuple[float, float, float],
        size: tuple[float, float, float],
        material: Material,
        *,
        taper: tuple[float, float] = (1.0, 1.0),
        shift: float = 0.0,
        yaw: float = 0.0,
        pitch: float = 0.0,
    ) -> None:
        """A frustum with its middle at ``place``: size at its bottom, taper of its top."""
        self._add(FRUSTUM, place, size, material, taper, shift, yaw, pitch)

    def tube(
        self,
        place: tuple[float, float, float],
        size: tuple[float, float, float],
        material: Material,
        *,
        taper: float = 1.0,
    ) -> None:
        """An upright tube of eight sides."""
        self._add(TUBE, place, size, material, (taper, taper), 0.0, 0.0, 0.0)

    def ball(
        self,
        place: tuple[float, float, float],
        size: tuple[float, float, float],
        material: Material,
        *,
        yaw: float = 0.0,
    ) -> None:
        """A ball of twelve faces, drawn to a size."""
        self._add(BALL, place, size, material, (1.0, 1.0), 0.0, yaw, 0.0)

    def array(self) -> np.ndarray:
        """(S,) PART."""
        return np.array(self._rows, PART)

    def _stand(self, pose: Pose, owner: int) -> None:
        self._pose, self._owner = pose, owner
        self._turn = pose.rotation().tolist()

    def _add(
        self,
        kind: int,
        place: tuple[float, float, float],
        size: tuple[float, float, float],
        material: Material,
        taper: tuple[float, float],
        shift: float,
        yaw: float,
        pitch: float,
    ) -> None:
        x, y, z = place
        pose = self._pose
        middle = [
            row[0] * x + row[1] * y + row[2] * z + at
            for row, at in zip(self._turn, (pose.x, pose.y, pose.z), strict=True)
        ]
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
                self._owner,
            )
        )


def joined(arrays: Iterable[np.ndarray]) -> np.ndarray:
    """Arrays of parts as one."""
    return np.concatenate([np.empty(0, PART), *arrays])


def attitudes(angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(S,3,3) rotations of pitch and roll alone, and with yaw, float32."""
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
    """(S,3) float64 halves of the sides of a box around each of (S,) PART, in its own frame."""
    half = parts['size'] / 2 * np.where(parts['kind'] == BALL, 1.25, 1.09)[:, None]
    half[:, :2] *= np.maximum(parts['taper'], 1)
    half[:, 0] += np.abs(parts['shift'])
    return half
