# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Spinning LiDAR: sweeps of a scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiny_bev_ros.sim.sensors import lidar_rays
from tiny_bev_ros.sim.sensors.half_spaces import part_planes
from tiny_bev_ros.sim.sensors.lidar_models import Lidar, Mounting
from tiny_bev_ros.sim.world.parts import attitudes, half_sides, rotation
from tiny_bev_ros.sim.world.scene import Scene
from tiny_bev_ros.sim.world.terrain import CELL

# Range in metres beyond which ground gives no return.
_GROUND_RANGE = 90.0


@dataclass(frozen=True)
class Sweep:
    """Points of one sweep in the sensor's frame: x forward, y left, z up.

    Attributes:
        points: (N,4) float32 x, y, z, intensity (0 to 1), column by column.
        instance_ids: (N,) int32 index of the object under each point; -1 for other things,
            -2 for the ground.
        boxes: (O,7) float32 boxes of the scene's objects: x, y, z of the centre, length,
            width, height, yaw.
    """

    points: np.ndarray
    instance_ids: np.ndarray
    boxes: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """(O,) int64, number of points on each object."""
        return np.bincount(self.instance_ids[self.instance_ids >= 0], minlength=len(self.boxes))


def scan(
    scene: Scene,
    lidar: Lidar,
    pose: tuple[float, float, float],
    seed: int = 0,
    mounting: Mounting | None = None,
) -> Sweep:
    """Takes one sweep of a still scene: nothing moves while the head turns.

    The sensor leans with the ground under its vehicle and with its mounting. Geometry is
    exact; the beam pattern leans in elevation only.

    Args:
        scene: scene around the sensor; ``scene.at(seconds)`` for another time.
        lidar: model of the sensor.
        pose: (x, y, yaw) of the sensor in the world, metres and radians.
        seed: seed of noise, dropout and first azimuth.
        mounting: mounting on the vehicle; by default level, 1.73 m above the ground.
    """
    random = np.random.default_rng(seed)
    mounting = mounting or Mounting()
    yaw = pose[2]
    origin, turn = sensor_pose(scene, pose, mounting)
    step = 2 * np.pi / lidar.columns
    first_azimuth = yaw + random.random() * step
    azimuth = first_azimuth + np.arange(lidar.columns) * step
    elevation = np.radians(lidar.elevations).astype(np.float32)
    # Elevation of a level beam of the leaning sensor, by column.
    forward, left = np.cos(azimuth - yaw), np.sin(azimuth - yaw)
    tilt = np.arcsin(forward * turn[2, 0] + left * turn[2, 1]).astype(np.float32)

    shape = (lidar.columns, len(elevation))
    distance = np.full(shape, np.inf, np.float32)
    cosine = np.zeros(shape, np.float32)
    hit = np.full(shape, -2, np.int32)
    terrain = scene.terrain
    pattern = (elevation, tilt, float(first_azimuth), float(step))
    lidar_rays.cast_ground(
        terrain.heights,
        np.array(terrain.corner),
        CELL,
        origin,
        *pattern,
        min(lidar.max_range, _GROUND_RANGE),
        distance,
        cosine,
    )
    parts = scene.parts
    if len(parts):
        _cast(parts, origin, pattern, int(random.integers(2**31)), (distance, cosine, hit))

    column, beam = np.nonzero((distance > lidar.min_range) & (distance < lidar.max_range))
    reach, cosine, hit = distance[column, beam], cosine[column, beam], hit[column, beam]
    angle = elevation[beam] + tilt[column]
    rays_out = np.stack(
        [
            np.cos(angle) * np.cos(azimuth)[column],
            np.cos(angle) * np.sin(azimuth)[column],
            np.sin(angle),
        ],
        axis=1,
    )
    reflectivity, dropout = _optics(scene, hit, rays_out, reach, origin)
    kept = 1 - np.exp(-reflectivity * cosine / (reach**2 * lidar.faintness))
    kept *= (1 - dropout) * (1 - lidar.dropout)
    returned = random.random(len(kept)) < kept
    measured = reach[returned] + random.normal(0, lidar.noise, int(returned.sum()))
    points = (rays_out[returned] * measured[:, None]) @ turn
    # Calibrated intensity: independent of range, partly of the angle.
    intensity = reflectivity[returned] * cosine[returned] ** 0.3
    intensity = np.clip(intensity + random.normal(0, 0.04, intensity.shape), 0, 1)
    hit = hit[returned]
    of_parts = parts['instance_id'][np.maximum(hit, 0)] if len(parts) else -1
    instance_ids = np.where(hit >= 0, of_parts, -2)
    return Sweep(
        np.column_stack([points, intensity]).astype(np.float32),
        instance_ids.astype(np.int32),
        boxes_from(scene, origin, turn, yaw),
    )


def sensor_pose(
    scene: Scene, pose: tuple[float, float, float], mounting: Mounting
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pose of a sensor whose vehicle leans with the ground.

    Args:
        scene: scene with the ground.
        pose: (x, y, yaw) as in `scan`.
        mounting: mounting on the vehicle.

    Returns:
        (3,) position in the world, and (3,3) rotation from its axes to the world.
    """
    x, y, yaw = pose
    pitch, roll = scene.terrain.attitude(x, y, yaw)
    turn = rotation(yaw, pitch + mounting.pitch, roll + mounting.roll)
    return np.array([x, y, scene.terrain.height(x, y) + mounting.height]), turn


def boxes_from(scene: Scene, origin: np.ndarray, turn: np.ndarray, yaw: float) -> np.ndarray:
    """Returns (O,7) float32 boxes of the objects in the frame of a sensor at ``origin``."""
    objects = scene.objects
    middle = (objects['position'] - origin) @ turn
    heading = (objects['yaw'] - yaw + np.pi) % (2 * np.pi) - np.pi
    return np.column_stack([middle, objects['size'], heading]).astype(np.float32)


def _cast(
    parts: np.ndarray,
    origin: np.ndarray,
    pattern: tuple[np.ndarray, np.ndarray, float, float],
    seed: int,
    result: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    position = (parts['position'] - origin).astype(np.float32)
    lean, turn = attitudes(parts['angles'])
    planes, counts = part_planes(
        parts['kind'], position, turn, parts['size'], parts['taper'], parts['shift']
    )
    extent = np.einsum('sij,sj->si', np.abs(lean), half_sides(parts)).astype(np.float32)
    porous = np.column_stack([parts['density'], parts['depth']])
    lidar_rays.cast_parts(
        planes,
        counts,
        position,
        extent,
        np.ascontiguousarray(parts['angles'][:, 0]),
        porous,
        *pattern,
        seed,
        *result,
    )


def _optics(
    scene: Scene, hit: np.ndarray, directions: np.ndarray, reach: np.ndarray, origin: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns reflectivity and dropout of the surfaces that rays hit."""
    reflectivity, dropout = np.empty(len(hit), np.float32), np.zeros(len(hit), np.float32)
    solid = hit >= 0
    reflectivity[solid] = scene.parts['reflectivity'][hit[solid]]
    dropout[solid] = scene.parts['dropout'][hit[solid]]
    ground = ~solid
    position = origin[:2] + directions[ground, :2] * reach[ground, None]
    reflectivity[ground] = scene.terrain.reflectivity[
        scene.terrain.at(position[:, 0], position[:, 1])
    ]
    return reflectivity, dropout
