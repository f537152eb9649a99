# SPDX-License-Identifier: Apache-2.0
"""Everything that is around at one time, and what a label says of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tiny_bev_ros.sim.world.parts import PART
from tiny_bev_ros.sim.world.terrain import Terrain

CLASSES = ('vehicle', 'pedestrian', 'cyclist')

OBJECT = np.dtype(
    [
        # Index into CLASSES, -1 for what is no such thing but looks like one.
        ('label', np.int32),
        # Middle of its box and its length, width and height in metres, its heading.
        ('place', np.float64, 3),
        ('size', np.float64, 3),
        ('yaw', np.float64),
        # In m/s.
        ('velocity', np.float64, 2),
    ]
)


@dataclass(frozen=True)
class Scene:
    """The world at one time: x and y level, z up, metres, seconds.

    Attributes:
        terrain: the ground.
        parts: (S,) PART, everything that stands on it.
        objects: (O,) OBJECT, what a detector is to find; ``parts['owner']`` points here.
    """

    terrain: Terrain
    parts: np.ndarray
    objects: np.ndarray

    def at(self, seconds: float) -> Scene:
        """The scene that much later, its objects having moved straight on."""
        moves = self.objects['velocity'] * seconds
        if not moves.any():
            return self
        parts, objects = self.parts.copy(), self.objects.copy()
        owned = parts['owner'] >= 0
        parts['place'][owned, :2] += moves[parts['owner'][owned]]
        objects['place'][:, :2] += moves
        return replace(self, parts=parts, objects=objects)


def empty(terrain: Terrain) -> Scene:
    """A ground with nothing on it."""
    return Scene(terrain, np.empty(0, PART), np.empty(0, OBJECT))
