# SPDX-License-Identifier: Apache-2.0
"""Pictures that a camera takes of a scene, through the same rays as a LiDAR.

Rays of a panorama, finer than the pixels, meet parts and ground; each pixel takes the nearest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tiny_bev_ros.sim.lidar import panorama
from tiny_bev_ros.sim.parts import GLASS
from tiny_bev_ros.sim.scene import Scene

_SKY_LOW, _SKY_HIGH = np.array([0.78, 0.82, 0.86]), np.array([0.42, 0.6, 0.85])
# From the axes of a vehicle to optical ones: x right, y down, z ahead.
_OPTICAL = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
_HAZE_M = 250.0
_FARTHEST = 120.0


@dataclass(frozen=True)
class Eye:
    """A pinhole camera that looks along x of its vehicle.

    Attributes:
        size: width and height in pixels.
        focal: focal length in pixels.
        centre: pixel at which it looks straight ahead, columns first.
    """

    size: tuple[int, int] = (256, 96)
    focal: float = 128.0
    centre: tuple[float, float] = (127.5, 40.0)

    def rays(self) -> np.ndarray:
        """(H,W,3) float64 directions of the pixels: x ahead, y left, z up."""
        col, row = np.meshgrid(np.arange(self.size[0]), np.arange(self.size[1]))
        left, up = (self.centre[0] - col) / self.focal, (self.centre[1] - row) / self.focal
        rays = np.stack([np.ones(col.shape), left, up], axis=2)
        return rays / np.linalg.norm(rays, axis=2, keepdims=True)


def photograph(
    scene: Scene,
    colours: tuple[np.ndarray, np.ndarray],
    eye: Eye,
    origin: np.ndarray,
    turn: np.ndarray,
    light: float = 1.0,
    seed: int = 0,
) -> np.ndarray:
    """A picture, taken in an instant.

    Args:
        scene: what is around.
        colours: of its parts, see `colours_of`, and of its ground, see `ground_colours`.
        eye: the camera.
        origin: (3,) of the camera in the world, in metres.
        turn: (3,3) from its vehicle's axes (x ahead, y left, z up) to the world's.
        light: of the day, 1 at noon; the noise of the camera stays.
        seed: of the noise, and of which rays pass leaves and glass.

    Returns:
        (H,W,3) uint8 red, green and blue.
    """
    random = np.random.default_rng((seed, 3))
    directions = eye.rays() @ turn.T
    parts = scene.parts.copy()
    parts['density'][parts['surface'] == GLASS] = 1  # in which a camera sees reflections
    scene = replace(scene, parts=parts)
    seen = panorama(scene, origin, directions, 0.6 / eye.focal, int(random.integers(2**31)))
    part_colours, cell_colours = colours
    sky = _SKY_LOW + (_SKY_HIGH - _SKY_LOW) * np.clip(directions[..., 2:] * 2.5, 0, 1)
    picture = sky.copy()
    shade = (0.5 + 0.5 * seen.cosine)[..., None]
    solid = seen.hit >= 0
    picture[solid] = part_colours[seen.hit[solid]]
    ground = (seen.hit == -2) & (seen.distance < _FARTHEST)
    place = origin[:2] + directions[ground][:, :2] * seen.distance[ground][:, None]
    picture[ground] = cell_colours[scene.terrain.at(place[:, 0], place[:, 1])]
    shade[ground] = 0.95
    something = solid | ground
    lit = picture[something] * shade[something]
    haze = 1 - np.exp(-seen.distance[something] / _HAZE_M)[:, None]
    picture[something] = lit * (1 - haze) + _SKY_LOW * haze
    noisy = picture * light + random.normal(0, 0.012, picture.shape)
    return (np.clip(noisy, 0, 1) * 255).astype(np.uint8)


def optical_mount(at: np.ndarray) -> np.ndarray:
    """(4,4) from the axes of a LiDAR to the optical ones of an eye that sits at (3,) in them."""
    mount = np.eye(4)
    mount[:3, :3] = _OPTICAL
    mount[:3, 3] = -_OPTICAL @ at
    return mount
