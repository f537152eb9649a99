# SPDX-License-Identifier: Apache-2.0
"""Pictures that a camera takes of a scene: one ray for each pixel, in the world of the LiDAR."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiny_bev_ros.sim.sensors import pixel_rays
from tiny_bev_ros.sim.sensors.half_spaces import planes_of
from tiny_bev_ros.sim.world.parts import GLASS, attitudes, half_sides
from tiny_bev_ros.sim.world.scene import Scene
from tiny_bev_ros.sim.world.terrain import CELL, Terrain

_SKY_LOW, _SKY_HIGH = np.array([0.78, 0.82, 0.86]), np.array([0.42, 0.6, 0.85])
# From the axes of a vehicle to optical ones: x right, y down, z ahead.
_OPTICAL = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
# Light that comes from everywhere, and what the sun adds where it falls straight.
_AMBIENT, _SUN = 0.5, 0.55
_HAZE_M = 250.0
_FARTHEST = 150.0
_NOISE = 0.012
# Corners of a box: two whose numbers differ in one bit share an edge.
_CORNERS = np.array([[1 - 2 * (i >> axis & 1) for axis in range(3)] for i in range(8)])


@dataclass(frozen=True)
class PinholeCamera:
    """A pinhole camera that looks along x of its vehicle.

    Attributes:
        size: width and height in pixels.
        focal: focal length in pixels.
        centre: pixel at which it looks straight ahead, columns first.
    """

    size: tuple[int, int] = (256, 96)
    focal: float = 128.0
    centre: tuple[float, float] = (127.5, 40.0)

    def intrinsics(self) -> list[float]:
        """K of sensor_msgs/CameraInfo, 9 numbers row by row."""
        right, down = self.centre
        return [self.focal, 0.0, right, 0.0, self.focal, down, 0.0, 0.0, 1.0]

    def rays(self) -> np.ndarray:
        """(H,W,3) float64 directions of the pixels: x ahead (1 each), y left, z up."""
        col, row = np.meshgrid(np.arange(self.size[0]), np.arange(self.size[1]))
        left, up = (self.centre[0] - col) / self.focal, (self.centre[1] - row) / self.focal
        return np.stack([np.ones(col.shape), left, up], axis=2)


@dataclass(frozen=True)
class Light:
    """What there is to see by.

    Attributes:
        day: 1 at noon, next to 0 in the dark.
        azimuth, elevation: of the sun, in radians, in the world.
        glare: of a lamp or a low sun in the lens: how much it adds where it is brightest.
    """

    day: float = 1.0
    azimuth: float = 0.7
    elevation: float = 0.8
    glare: float = 0.0

    def toward(self) -> np.ndarray:
        """(3,) float64 of length 1, to the sun."""
        flat = np.cos(self.elevation)
        return np.array(
            [flat * np.cos(self.azimuth), flat * np.sin(self.azimuth), np.sin(self.elevation)]
        )


@dataclass(frozen=True)
class View:
    """What each pixel looks at.

    Attributes:
        depth: (H,W) float32 metres ahead; infinite where there is nothing.
        hit: (H,W) int32, index of the part, pixel_rays.GROUND or pixel_rays.NOTHING.
        normals: (H,W,3) float32 of the parts in the camera's frame, zeros elsewhere.
    """

    depth: np.ndarray
    hit: np.ndarray
    normals: np.ndarray


def look(
    scene: Scene, eye: PinholeCamera, origin: np.ndarray, turn: np.ndarray, seed: int = 0
) -> View:
    """What a camera has before it.

    Args:
        scene: what is around.
        eye: the camera.
        origin: (3,) of the camera in the world, in metres.
        turn: (3,3) from its vehicle's axes (x ahead, y left, z up) to the world's.
        seed: of which rays pass leaves.
    """
    shape = eye.size[::-1]
    depth = np.full(shape, np.inf, np.float32)
    hit = np.full(shape, pixel_rays.NOTHING, np.int32)
    terrain, lens = scene.terrain, (eye.focal, eye.centre)
    # The nearest parts first: what they hide needs no look.
    place = (scene.parts['place'] - origin) @ turn
    order = np.argsort((place**2).sum(axis=1))
    parts, place = scene.parts[order], place[order].astype(np.float32)
    attitude = (turn.T @ attitudes(parts['angles'])[1]).astype(np.float32)
    planes, counts = planes_of(
        parts['kind'], place, attitude, parts['size'], parts['taper'], parts['shift']
    )
    outward = _CORNERS * half_sides(parts)[:, None]
    corners = place[:, None] + np.einsum('sij,scj->sci', attitude, outward)
    # In glass a camera sees reflections.
    density = np.where(parts['surface'] == GLASS, 1, parts['density'])
    pixel_rays.cast_parts(planes, counts, corners, density, *lens, seed, depth, hit)
    corner = np.array(terrain.corner)
    pixel_rays.cast_ground(
        terrain.heights, corner, CELL, origin, turn, *lens, _FARTHEST, depth, hit
    )
    normals = pixel_rays.normals_of(planes, counts, *lens, hit)
    solid = hit >= 0
    hit[solid] = order[hit[solid]]
    return View(depth, hit, normals)


def render(
    scene: Scene,
    colours: tuple[np.ndarray, np.ndarray],
    eye: PinholeCamera,
    origin: np.ndarray,
    turn: np.ndarray,
    light: Light | None = None,
    seed: int = 0,
) -> np.ndarray:
    """A picture, taken in an instant.

    Args:
        scene: what is around.
        colours: of its parts, see `colours_of`, and of its ground, see `ground_colours`.
        eye: the camera.
        origin: (3,) of the camera in the world, in metres.
        turn: (3,3) from its vehicle's axes (x ahead, y left, z up) to the world's.
        light: the default is a day; the noise of the camera is the same in any.
        seed: of the noise, of where the glare is, and of which rays pass leaves.

    Returns:
        (H,W,3) uint8 red, green and blue.
    """
    random = np.random.default_rng((seed, 3))
    light = light or Light()
    view = look(scene, eye, origin, turn, int(random.integers(2**31)))
    rays = eye.rays() @ turn.T
    length = np.linalg.norm(rays, axis=2)
    picture = _SKY_LOW + (_SKY_HIGH - _SKY_LOW) * np.clip(
        2.5 * rays[..., 2:] / length[..., None], 0, 1
    )
    part_colours, cell_colours = colours
    sun = light.toward()

    solid, ground = view.hit >= 0, view.hit == pixel_rays.GROUND
    falls = np.zeros(view.hit.shape)
    falls[solid] = view.normals[solid] @ (turn.T @ sun)
    picture[solid] = part_colours[view.hit[solid]]
    place = origin[:2] + rays[ground][:, :2] * view.depth[ground][:, None]
    cells = scene.terrain.at(place[:, 0], place[:, 1])
    falls[ground] = _ground_normals(scene.terrain, *cells) @ sun
    picture[ground] = cell_colours[cells]

    something = solid | ground
    lit = picture[something] * (_AMBIENT + _SUN * np.clip(falls[something], 0, 1))[:, None]
    haze = 1 - np.exp(-view.depth[something] * length[something] / _HAZE_M)[:, None]
    picture[something] = lit * (1 - haze) + _SKY_LOW * haze
    picture = picture * light.day + _glare(eye, light.glare, random)
    picture += random.normal(0, _NOISE, picture.shape)
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


def optical_mount(at: np.ndarray) -> np.ndarray:
    """(4,4) from the axes of a LiDAR to the optical ones of an eye that sits at (3,) in them."""
    mount = np.eye(4)
    mount[:3, :3] = _OPTICAL
    mount[:3, 3] = -_OPTICAL @ at
    return mount


def _ground_normals(terrain: Terrain, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """(N,3) of cells."""
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


def _glare(eye: PinholeCamera, much: float, random: np.random.Generator) -> np.ndarray:
    """(H,W,1): a bright spot near the horizon, and a veil around it."""
    width, height = eye.size
    u, v = random.uniform(0, width), eye.centre[1] + random.uniform(-0.2, 0.1) * height
    col, row = np.meshgrid(np.arange(width), np.arange(height))
    apart = np.hypot(col - u, row - v) / width
    return (much * np.exp(-apart / 0.35))[..., None]
