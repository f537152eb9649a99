# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""LiDAR: sweeps of a scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiny_bev_ros.sim.sensors import lidar_rays, scattered_rays
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
        points: (N,4) float32 x, y, z, intensity (0 to 1), by azimuth.
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
    """Takes one sweep of a still scene: nothing moves while the sensor scans.

    The sensor leans with the ground under its vehicle and with its mounting. Geometry is
    exact; the beam pattern of a spinning LiDAR leans in elevation only.

    Args:
        scene: scene around the sensor; ``scene.at(seconds)`` for another time.
        lidar: model of the sensor.
        pose: (x, y, yaw) of the sensor in the world, metres and radians.
        seed: seed of noise, dropout and first azimuth, or of the scan pattern.
        mounting: mounting on the vehicle; by default level, 1.73 m above the ground.
    """
    random = np.random.default_rng(seed)
    mounting = mounting or Mounting()
    yaw = pose[2]
    origin, turn = sensor_pose(scene, pose, mounting)
    cast = _cast_spinning if lidar.pattern is None else _cast_pattern
    rays_out, reach, cosine, hit = cast(scene, lidar, origin, turn, yaw, random)
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
    parts = scene.parts
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


_Hits = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _cast_spinning(
    scene: Scene,
    lidar: Lidar,
    origin: np.ndarray,
    turn: np.ndarray,
    yaw: float,
    random: np.random.Generator,
) -> _Hits:
    """Returns direction, distance, cosine of incidence and part of the rays that hit."""
    step = 2 * np.pi / lidar.columns
    first_azimuth = yaw + random.random() * step
    azimuth = first_azimuth + np.arange(lidar.columns) * step
    elevation = np.radians(lidar.elevations).astype(np.float32)
    # Elevation of a level beam of the leaning sensor, by column.
    forward, left = np.cos(azimuth - yaw), np.sin(azimuth - yaw)
    tilt = np.arcsin(forward * turn[2, 0] + left * turn[2, 1]).astype(np.float32)

    distance, cosine, hit = _no_hits((lidar.columns, len(elevation)))
    pattern = (elevation, tilt, float(first_azimuth), float(step))
    reach = min(lidar.max_range, _GROUND_RANGE)
    lidar_rays.cast_ground(*_ground(scene), origin, *pattern, reach, distance, cosine)
    if len(scene.parts):
        parts, seed = _parts(scene.parts, origin), int(random.integers(2**31))
        lidar_rays.cast_parts(*parts, *pattern, seed, distance, cosine, hit)

    column, beam = np.nonzero((distance > lidar.min_range) & (distance < lidar.max_range))
    angle = elevation[beam] + tilt[column]
    rays = np.stack(
        [
            np.cos(angle) * np.cos(azimuth)[column],
            np.cos(angle) * np.sin(azimuth)[column],
            np.sin(angle),
        ],
        axis=1,
    )
    return rays, distance[column, beam], cosine[column, beam], hit[column, beam]


def _cast_pattern(
    scene: Scene,
    lidar: Lidar,
    origin: np.ndarray,
    turn: np.ndarray,
    yaw: float,
    random: np.random.Generator,
) -> _Hits:
    """Returns results as `_cast_spinning` does, for a LiDAR with a scan pattern."""
    assert lidar.pattern
    azimuth, elevation = np.radians(lidar.pattern(random)).T
    level = np.cos(elevation)
    rays = np.stack([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)], 1)
    rays = rays @ turn.T
    azimuth = np.arctan2(rays[:, 1], rays[:, 0])
    order = np.argsort(azimuth)
    azimuth, rays = azimuth[order], rays[order].astype(np.float32)

    distance, cosine, hit = _no_hits(azimuth.shape)
    if len(scene.parts):
        parts, seed = _parts(scene.parts, origin), int(random.integers(2**31))
        scattered_rays.cast_parts(*parts, rays, azimuth, seed, distance, cosine, hit)
    reach = min(lidar.max_range, _GROUND_RANGE)
    scattered_rays.cast_ground(*_ground(scene), origin, rays, reach, distance, cosine, hit)

    found = (distance > lidar.min_range) & (distance < lidar.max_range)
    return rays[found], distance[found], cosine[found], hit[found]


def _no_hits(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns distance, cosine and part of rays that have not hit anything yet."""
    distance = np.full(shape, np.inf, np.float32)
    return distance, np.zeros(shape, np.float32), np.full(shape, -2, np.int32)


def _ground(scene: Scene) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns the arguments of `cast_ground` that describe the ground."""
    return scene.terrain.heights, np.array(scene.terrain.corner), CELL


def _parts(parts: np.ndarray, origin: np.ndarray) -> tuple[np.ndarray, ...]:
    """Returns the arguments of `cast_parts` that describe the parts."""
    position = (parts['position'] - origin).astype(np.float32)
    lean, turn = attitudes(parts['angles'])
    planes, counts = part_planes(
        parts['kind'], position, turn, parts['size'], parts['taper'], parts['shift']
    )
    extent = np.einsum('sij,sj->si', np.abs(lean), half_sides(parts)).astype(np.float32)
    yaw = np.ascontiguousarray(parts['angles'][:, 0])
    porous = np.column_stack([parts['density'], parts['depth']])
    return planes, counts, position, extent, yaw, porous


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
