# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Colours of parts and ground for a camera; a LiDAR measures none of them."""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.sim.world import parts as kinds
from tiny_bev_ros.sim.world.scene import Scene

# Red, green and blue, 0 to 1, of the car paints that sell most.
_PAINTS = np.array(
    [
        [0.85, 0.85, 0.85], [0.55, 0.56, 0.58], [0.3, 0.31, 0.33], [0.08, 0.08, 0.09],
        [0.1, 0.16, 0.4], [0.45, 0.05, 0.06], [0.12, 0.25, 0.16], [0.7, 0.68, 0.6],
    ],
    np.float32,
)  # fmt: skip
_CLOTHES = np.array(
    [
        [0.1, 0.1, 0.13], [0.15, 0.2, 0.4], [0.5, 0.12, 0.12], [0.75, 0.73, 0.68],
        [0.2, 0.3, 0.18], [0.35, 0.3, 0.25], [0.45, 0.2, 0.45],
    ],
    np.float32,
)  # fmt: skip
_WALLS = np.array(
    [[0.72, 0.66, 0.56], [0.6, 0.36, 0.28], [0.75, 0.73, 0.7], [0.5, 0.48, 0.45]], np.float32
)
# Paint of service vehicles alone.
_WARNING = np.array([1.0, 0.5, 0.03], np.float32)
_FIXED = {
    kinds.GLASS: (0.12, 0.15, 0.19),
    kinds.RUBBER: (0.04, 0.04, 0.045),
    kinds.SKIN: (0.6, 0.42, 0.33),
    kinds.WOOD: (0.3, 0.22, 0.15),
}
_LEAVES = np.array([0.16, 0.3, 0.1], np.float32)
ASPHALT, GRASS, PAVEMENT = (0.27, 0.27, 0.28), (0.25, 0.36, 0.14), (0.5, 0.48, 0.46)


def part_colours(scene: Scene, seed: int, marked: np.ndarray) -> np.ndarray:
    """Draws the colours of the parts of a scene.

    Args:
        scene: scene whose parts are coloured.
        seed: seed of the colours; equal seeds give equal colours.
        marked: (O,) bool, True for objects painted in a warning colour.

    Returns:
        (S,3) float32 red, green and blue, 0 to 1.
    """
    random = np.random.default_rng((seed, 2))
    count = len(scene.objects)
    # The last colour is for parts that belong to no object, whose index is -1.
    paint = _PAINTS[random.integers(0, len(_PAINTS), count + 1)]
    paint = paint * random.uniform(0.85, 1.15, (count + 1, 1)).astype(np.float32)
    # Drawn for every object, so that the other colours do not depend on the marks.
    warning = _WARNING * random.uniform(0.85, 1.0, (count, 1)).astype(np.float32)
    paint[:-1][marked] = warning[marked]
    cloth = _CLOTHES[random.integers(0, len(_CLOTHES), (count + 1, 2))]

    parts = scene.parts
    instance_id, surface = parts['instance_id'], parts['surface']
    walls = _WALLS[random.integers(0, len(_WALLS), len(_WALLS) * 4)]
    # Parts of one house, wall or post have equal reflectivity, and so equal colour.
    wall_index = (parts['reflectivity'] * 997).astype(np.int64) % len(walls)
    colours = np.asarray(walls[wall_index] * (0.6 + 0.8 * parts['reflectivity'][:, None]))
    for kind, colour in _FIXED.items():
        colours[surface == kind] = colour
    leaves = surface == kinds.LEAVES
    colours[leaves] = _LEAVES * (0.5 + 1.2 * parts['reflectivity'][leaves, None])
    painted, dressed = surface == kinds.PAINT, surface == kinds.CLOTH
    colours[painted] = paint[instance_id[painted]]
    # Trousers differ in colour from the clothes above them.
    low = parts['position'][:, 2] < _middles(scene)[instance_id]
    colours[dressed] = cloth[instance_id[dressed], low[dressed].astype(np.int64)]
    return np.clip(colours, 0, 1).astype(np.float32)


def ground_colours(scene: Scene) -> np.ndarray:
    """Returns (H,W,3) float32 colours of the terrain cells."""
    terrain = scene.terrain
    colours = np.empty((*terrain.drivable.shape, 3), np.float32)
    colours[:] = PAVEMENT
    colours[terrain.drivable] = ASPHALT
    colours[terrain.green] = GRASS
    colours[terrain.reflectivity > 0.7] = 0.85  # lines
    return colours


def _middles(scene: Scene) -> np.ndarray:
    """Returns (O+1,) heights of object centres; the last entry belongs to no object."""
    return np.append(scene.objects['position'][:, 2], np.inf)
