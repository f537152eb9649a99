# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Scene: everything around the vehicle at one time, with its labels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tiny_bev_ros.sim.world.parts import PART
from tiny_bev_ros.sim.world.terrain import Terrain

CLASSES = ('vehicle', 'pedestrian', 'cyclist')

OBJECT = np.dtype(
    [
        # Index into CLASSES; -1 for a thing of no class that resembles one.
        ('label', np.int32),
        # Centre of the box; length, width and height in metres; heading in radians.
        ('position', np.float64, 3),
        ('size', np.float64, 3),
        ('yaw', np.float64),
        # Velocity in m/s.
        ('velocity', np.float64, 2),
    ]
)


@dataclass(frozen=True)
class Scene:
    """The world at one time: x and y level, z up, metres, seconds.

    Attributes:
        terrain: the ground.
        parts: (S,) PART, everything that stands on the ground.
        objects: (O,) OBJECT, labels of a detector; ``parts['instance_id']`` holds their indices.
    """

    terrain: Terrain
    parts: np.ndarray
    objects: np.ndarray

    def at(self, seconds: float) -> Scene:
        """Returns the scene after some seconds, its objects moved straight ahead."""
        moves = self.objects['velocity'] * seconds
        if not moves.any():
            return self
        parts, objects = self.parts.copy(), self.objects.copy()
        owned = parts['instance_id'] >= 0
        parts['position'][owned, :2] += moves[parts['instance_id'][owned]]
        objects['position'][:, :2] += moves
        return replace(self, parts=parts, objects=objects)


def empty(terrain: Terrain) -> Scene:
    """Returns a scene of ground alone."""
    return Scene(terrain, np.empty(0, PART), np.empty(0, OBJECT))
