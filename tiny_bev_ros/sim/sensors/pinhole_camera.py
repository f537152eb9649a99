# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Pinhole camera: images of a scene by one ray for each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiny_bev_ros.sim.sensors import pixel_rays
from tiny_bev_ros.sim.sensors.half_spaces import part_planes
from tiny_bev_ros.sim.world.parts import GLASS, attitudes, half_sides
from tiny_bev_ros.sim.world.scene import Scene
from tiny_bev_ros.sim.world.terrain import CELL, Terrain

_SKY_LOW, _SKY_HIGH = np.array([0.78, 0.82, 0.86]), np.array([0.42, 0.6, 0.85])
# Rotation from vehicle axes to optical axes: x right, y down, z ahead.
_OPTICAL = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
# Ambient light, and light that the sun adds at vertical incidence.
_AMBIENT, _SUN = 0.5, 0.55
_HAZE_M = 250.0
_FARTHEST = 150.0
_NOISE = 0.012
# Corners of a box: two corners whose indices differ in one bit share an edge.
_CORNERS = np.array([[1 - 2 * (i >> axis & 1) for axis in range(3)] for i in range(8)])


@dataclass(frozen=True)
class PinholeCamera:
    """Pinhole camera whose optical axis is x of its vehicle.

    Attributes:
        size: width and height in pixels.
        focal: focal length in pixels.
        centre: principal point in pixels, column first.
    """

    size: tuple[int, int] = (256, 96)
    focal: float = 128.0
    centre: tuple[float, float] = (127.5, 40.0)

    def intrinsics(self) -> list[float]:
        """Returns K of sensor_msgs/CameraInfo, 9 numbers row by row."""
        right, down = self.centre
        return [self.focal, 0.0, right, 0.0, self.focal, down, 0.0, 0.0, 1.0]

    def rays(self) -> np.ndarray:
        """Returns (H,W,3) float64 directions of the pixels: x ahead (always 1), y left, z up."""
        col, row = np.meshgrid(np.arange(self.size[0]), np.arange(self.size[1]))
        left, up = (self.centre[0] - col) / self.focal, (self.centre[1] - row) / self.focal
        return np.stack([np.ones(col.shape), left, up], axis=2)


@dataclass(frozen=True)
class Light:
    """Light of a scene.

    Attributes:
        day: brightness, 1 at noon, near 0 in the dark.
        azimuth, elevation: angles of the sun in the world, in radians.
        glare: brightness that a lamp or a low sun adds at its brightest pixel.
    """

    day: float = 1.0
    azimuth: float = 0.7
    elevation: float = 0.8
    glare: float = 0.0

    def toward(self) -> np.ndarray:
        """Returns the (3,) float64 unit vector to the sun."""
        flat = np.cos(self.elevation)
        return np.array(
            [flat * np.cos(self.azimuth), flat * np.sin(self.azimuth), np.sin(self.elevation)]
        )


@dataclass(frozen=True)
class PixelHits:
    """Depth, part and normal at each pixel.

    Attributes:
        depth: (H,W) float32 depth in metres; infinite for sky.
        hit: (H,W) int32 index of the part, pixel_rays.GROUND or pixel_rays.NOTHING.
        normals: (H,W,3) float32 normals of parts in the camera's frame, zeros elsewhere.
    """

    depth: np.ndarray
    hit: np.ndarray
    normals: np.ndarray


def trace_pixels(
    scene: Scene, camera: PinholeCamera, origin: np.ndarray, turn: np.ndarray, seed: int = 0
) -> PixelHits:
    """Casts one ray for each pixel.

    Args:
        scene: scene around the camera.
        camera: camera with its intrinsics.
        origin: (3,) position of the camera in the world, in metres.
        turn: (3,3) rotation from its vehicle's axes (x ahead, y left, z up) to the world.
        seed: seed of the rays that pass through leaves.
    """
    shape = camera.size[::-1]
    depth = np.full(shape, np.inf, np.float32)
    hit = np.full(shape, pixel_rays.NOTHING, np.int32)
    terrain, lens = scene.terrain, (camera.focal, camera.centre)
    # Nearest parts first: parts behind them are skipped.
    position = (scene.parts['position'] - origin) @ turn
    order = np.argsort((position**2).sum(axis=1))
    parts, position = scene.parts[order], position[order].astype(np.float32)
    attitude = (turn.T @ attitudes(parts['angles'])[1]).astype(np.float32)
    planes, counts = part_planes(
        parts['kind'], position, attitude, parts['size'], parts['taper'], parts['shift']
    )
    outward = _CORNERS * half_sides(parts)[:, None]
    corners = position[:, None] + np.einsum('sij,scj->sci', attitude, outward)
    # Glass is opaque in images, as it reflects.
    density = np.where(parts['surface'] == GLASS, 1, parts['density'])
    pixel_rays.cast_parts(planes, counts, corners, density, *lens, seed, depth, hit)
    corner = np.array(terrain.corner)
    pixel_rays.cast_ground(
        terrain.heights, corner, CELL, origin, turn, *lens, _FARTHEST, depth, hit
    )
    normals = pixel_rays.face_normals(planes, counts, *lens, hit)
    solid = hit >= 0
    hit[solid] = order[hit[solid]]
    return PixelHits(depth, hit, normals)


def render(
    scene: Scene,
    colours: tuple[np.ndarray, np.ndarray],
    camera: PinholeCamera,
    origin: np.ndarray,
    turn: np.ndarray,
    light: Light | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Renders one image, taken in an instant.

    Args:
        scene: scene around the camera.
        colours: colours of parts (`part_colours`) and of the ground (`ground_colours`).
        camera: camera with its intrinsics.
        origin: (3,) position of the camera in the world, in metres.
        turn: (3,3) rotation from its vehicle's axes (x ahead, y left, z up) to the world.
        light: light of the scene, daylight by default; pixel noise does not depend on it.
        seed: seed of pixel noise, of the glare and of the rays that pass through leaves.

    Returns:
        (H,W,3) uint8 red, green and blue.
    """
    random = np.random.default_rng((seed, 3))
    light = light or Light()
    view = trace_pixels(scene, camera, origin, turn, int(random.integers(2**31)))
    rays = camera.rays() @ turn.T
    length = np.linalg.norm(rays, axis=2)
    image = _SKY_LOW + (_SKY_HIGH - _SKY_LOW) * np.clip(
        2.5 * rays[..., 2:] / length[..., None], 0, 1
    )
    part_colours, cell_colours = colours
    sun = light.toward()

    solid, ground = view.hit >= 0, view.hit == pixel_rays.GROUND
    falls = np.zeros(view.hit.shape)
    falls[solid] = view.normals[solid] @ (turn.T @ sun)
    image[solid] = part_colours[view.hit[solid]]
    position = origin[:2] + rays[ground][:, :2] * view.depth[ground][:, None]
    cells = scene.terrain.at(position[:, 0], position[:, 1])
    falls[ground] = _ground_normals(scene.terrain, *cells) @ sun
    image[ground] = cell_colours[cells]

    something = solid | ground
    lit = image[something] * (_AMBIENT + _SUN * np.clip(falls[something], 0, 1))[:, None]
    haze = 1 - np.exp(-view.depth[something] * length[something] / _HAZE_M)[:, None]
    image[something] = lit * (1 - haze) + _SKY_LOW * haze
    image = image * light.day + _glare(camera, light.glare, random)
    image += random.normal(0, _NOISE, image.shape)
    return (np.clip(image, 0, 1) * 255).astype(np.uint8)


def optical_mount(at: np.ndarray) -> np.ndarray:
    """Returns the (4,4) transform from LiDAR axes to the optical axes of a camera at (3,)."""
    mount = np.eye(4)
    mount[:3, :3] = _OPTICAL
    mount[:3, 3] = -_OPTICAL @ at
    return mount


def _ground_normals(terrain: Terrain, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Returns (N,3) unit normals of cells."""
    heights = terrain.heights
    rows, cols = heights.shape
    slopes = []
    for axis, (at, most) in enumerate(((col, cols), (row, rows))):
        low, high = np.maximum(at - 1, 0), np.minimum(at + 1, most - 1)
        rise = (
            heights[row, high] - heights[row, low]
            if axis == 0
            else heights[high, col] - heights[low, col]
        )
        slopes.append(-rise / ((high - low) * CELL))
    normals = np.stack([*slopes, np.ones(len(row))], axis=1)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def _glare(camera: PinholeCamera, strength: float, random: np.random.Generator) -> np.ndarray:
    """Returns (H,W,1): a bright spot near the horizon, and a veil around it."""
    width, height = camera.size
    u, v = random.uniform(0, width), camera.centre[1] + random.uniform(-0.2, 0.1) * height
    col, row = np.meshgrid(np.arange(width), np.arange(height))
    apart = np.hypot(col - u, row - v) / width
    return (strength * np.exp(-apart / 0.35))[..., None]
