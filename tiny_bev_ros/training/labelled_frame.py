# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Labelled clouds, as training and evaluation take them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tiny_bev_ros.models.levelling import Levelling
from tiny_bev_ros.sim.world.terrain import Terrain

# Instance id of points on the ground.
GROUND = -2
# Objects of fewer points are neither required nor counted as wrong where they are detected.
MIN_POINTS = 5
# Fraction of the azimuths, in sectors of ten degrees, from which a sweep is whole.
_SECTORS, _WHOLE = 36, 0.9


@dataclass(frozen=True)
class Road:
    """Map of the drivable area, and its position under a frame.

    Attributes:
        terrain: the map.
        to_map: (2,3) float64, takes positions (x, y, 1) in the frame to x and y in the map.
    """

    terrain: Terrain
    to_map: np.ndarray

    def drivable_at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Returns a bool array of the shape of x: true where a position is road surface.

        Args:
            x: metres forward, in the frame.
            y: metres to the left, in the frame, of the shape of x.
        """
        map_x, map_y = self.to_map[:, :2] @ np.stack([x.ravel(), y.ravel()]) + self.to_map[:, 2:]
        return self.terrain.drivable[self.terrain.at(map_x, map_y)].reshape(x.shape)

    def transformed(self, matrix: np.ndarray) -> Road:
        """Returns the road for a frame whose positions were multiplied by a (2,2) matrix."""
        to_map = self.to_map.copy()
        to_map[:, :2] = to_map[:, :2] @ np.linalg.inv(matrix)
        return replace(self, to_map=to_map)


@dataclass(frozen=True)
class Frame:
    """One labelled cloud, in the sensor's frame: x forward, y left, z up.

    Attributes:
        points: (N,4) float32 x, y, z, intensity.
        instance_ids: (N,) int32, index of the object on which each point lies; GROUND for the
            ground, where it is known; -1 for other things.
        boxes: (O,7) float32 x, y, z of the centre, length, width, height, yaw.
        labels: (O,) int64, index into the classes; -1 for an object of no class that resembles
            one.
        road: the drivable area; None where it is unknown.
        whole: true for a full sweep of the sensor that is labelled on all sides.
        exact_boxes: false for boxes that were predicted: they only tell where objects are.
    """

    points: np.ndarray
    instance_ids: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    road: Road | None = None
    whole: bool = False
    exact_boxes: bool = True

    def levelled(self, levelling: Levelling) -> Frame:
        """Returns the frame with points and boxes transformed."""
        # Boxes begin with x, y, z as points do; their sides and yaw stay.
        points, boxes = levelling.points(self.points), levelling.points(self.boxes)
        return replace(self, points=points, boxes=boxes)

    @property
    def counts(self) -> np.ndarray:
        """(O,) int64, number of points on each object."""
        ids = self.instance_ids
        return np.bincount(ids[ids >= 0], minlength=len(self.boxes))


def in_box(box: np.ndarray, points: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """Returns (N,) bool: true for the points in one box.

    Args:
        box: (7,) x, y, z of the centre, length, width, height, yaw.
        points: (N,3+) x, y, z.
        margin: metres by which the box is larger on each side.
    """
    x, y, z = (points[:, :3] - box[:3]).T
    cos, sin = np.cos(box[6]), np.sin(box[6])
    half = box[3:6] / 2 + margin
    return (
        (np.abs(cos * x + sin * y) <= half[0])
        & (np.abs(cos * y - sin * x) <= half[1])
        & (np.abs(z) <= half[2])
    )


def instance_ids(boxes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Returns (N,) int32: index of the box in which each point lies, -1 for none."""
    ids = np.full(len(points), -1, np.int32)
    for index, box in enumerate(boxes):
        ids[in_box(box, points)] = index
    return ids


def is_whole(points: np.ndarray) -> bool:
    """Returns True if points (N,2+) lie on all sides of the sensor."""
    azimuth = np.arctan2(points[:, 1], points[:, 0]) / (2 * np.pi) + 0.5
    sectors = np.unique((azimuth * _SECTORS).astype(np.int64) % _SECTORS)
    return bool(len(sectors) >= _WHOLE * _SECTORS)
