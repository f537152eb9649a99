# SPDX-License-Identifier: Apache-2.0
"""A spinning LiDAR that looks at a scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiny_bev_ros.sim.scene import Scene, Solid, Surface

# Beam elevations of an HDL-64E, from the top: 32 narrow steps, then 32 wide ones.
_HDL_64E = tuple(np.linspace(2, -8.33, 32).tolist() + np.linspace(-8.83, -24.8, 32).tolist())
# Reflectivity * cosine / m^2 that comes back in 63 % of the cases. It lets the road fade
# out at 50 to 70 m, where beams graze it, while walls are seen to the end of the range.
_FAINT = 4e-6


@dataclass(frozen=True)
class Lidar:
    """The sensor, by default like the HDL-64E on the KITTI car.

    Attributes:
        elevations: of the beams in degrees, falling.
        columns: firings per turn.
        height: above the ground, in metres.
        min_range, max_range: in metres.
        noise: standard deviation of the range, in metres.
        dropout: probability that a return is lost for no reason.
    """

    elevations: tuple[float, ...] = _HDL_64E
    columns: int = 1800
    height: float = 1.73
    min_range: float = 1.5
    max_range: float = 120.0
    noise: float = 0.02
    dropout: float = 0.03


def scan(
    scene: Scene, lidar: Lidar, pose: tuple[float, float, float], seed: int = 0
) -> np.ndarray:
    """One sweep, taken in an instant (nothing moves while the head turns).

    Args:
        scene: what is around; use ``scene.at(seconds)`` for another time.
        lidar: the sensor.
        pose: (x, y, yaw) of the sensor in the world, metres and radians.
        seed: of noise, dropout and where the turn begins.

    Returns:
        (N, 4) float32 x, y, z, intensity (0 to 1) in the sensor's frame: x forward, y left,
        z up, beam by beam from the top.
    """
    random = np.random.default_rng(seed)
    x, y, yaw = pose
    origin = np.array([x, y, lidar.height], np.float32)
    azimuth = (np.arange(lidar.columns) + random.random()) * (2 * np.pi / lidar.columns)
    elevation = np.radians(lidar.elevations)
    directions = _directions(elevation, azimuth + yaw)

    shape = directions.shape[:2]
    distance = np.full(shape, np.inf, np.float32)
    cosine = np.zeros(shape, np.float32)
    # -1, the last of the surfaces below, stands for the sky.
    owner = np.full(shape, -1)
    for index, solid in enumerate(scene.solids):
        window = _window(solid, origin, elevation, azimuth[0] + yaw, lidar)
        if window is None:
            continue
        hit_distance, hit_cosine = solid.intersect(origin, directions[window])
        closer = hit_distance < distance[window]
        distance[window] = np.where(closer, hit_distance, distance[window])
        cosine[window] = np.where(closer, hit_cosine, cosine[window])
        owner[window] = np.where(closer, index, owner[window])

    surfaces = [solid.surface for solid in scene.solids] + [Surface(0.0)]
    reflectivity = np.array([surface.reflectivity for surface in surfaces])[owner]
    returned = (distance > lidar.min_range) & (distance < lidar.max_range)
    faintness = np.where(returned, distance, 1) ** 2 * _FAINT
    kept = 1 - np.exp(-reflectivity * cosine / faintness)
    kept *= 1 - np.array([surface.dropout for surface in surfaces])[owner]
    kept *= 1 - lidar.dropout
    returned &= random.random(shape) < kept

    reach = distance[returned] + random.normal(0, lidar.noise, int(returned.sum()))
    points = _directions(elevation, azimuth)[returned] * reach[:, None]
    # Calibrated intensity: the range is taken out, some of the angle stays.
    intensity = reflectivity[returned] * cosine[returned] ** 0.3
    intensity = np.clip(intensity + random.normal(0, 0.04, intensity.shape), 0, 1)
    return np.column_stack([points, intensity]).astype(np.float32)


def _directions(elevation: np.ndarray, azimuth: np.ndarray) -> np.ndarray:
    """(beams, columns, 3) float32 unit vectors of angles in radians."""
    flat, up = np.cos(elevation)[:, None], np.sin(elevation)[:, None]
    rays = np.empty((len(elevation), len(azimuth), 3), np.float32)
    rays[..., 0], rays[..., 1] = flat * np.cos(azimuth), flat * np.sin(azimuth)
    rays[..., 2] = up
    return rays


def _window(
    solid: Solid, origin: np.ndarray, elevation: np.ndarray, begin: float, lidar: Lidar
) -> tuple[slice, slice | np.ndarray] | None:
    """Index of the rays that may meet the solid; None where there are none.

    Most solids fill a few degrees of the turn: testing only those is what makes a sweep
    take a tenth of a second.
    """
    if solid.bounds is None:
        return (slice(None), slice(None))
    outline, low, high = solid.bounds
    outline = outline - origin[:2]
    centre = outline.mean(axis=0)
    middle, radius = np.hypot(*centre), np.hypot(*(outline - centre).T).max()
    near, far = middle - radius, middle + radius
    if near > lidar.max_range:
        return None
    rows: slice = slice(None)
    columns: slice | np.ndarray = slice(None)
    if near > 0.1:
        slopes = np.array([low, high])[:, None] - origin[2]
        slopes = slopes / np.array([near, far])
        tangent = np.tan(elevation)
        beams = np.nonzero((tangent >= slopes.min()) & (tangent <= slopes.max()))[0]
        if not beams.size:
            return None
        rows = slice(beams[0], beams[-1] + 1)
    heading = np.arctan2(centre[1], centre[0])
    angles = np.arctan2(outline[:, 1], outline[:, 0]) - heading
    angles = (angles + np.pi) % (2 * np.pi) - np.pi
    if np.ptp(angles) < np.pi:
        step = 2 * np.pi / lidar.columns
        first = int(np.ceil((heading + angles.min() - begin) / step))
        last = int(np.floor((heading + angles.max() - begin) / step))
        if last < first:
            return None
        columns = np.arange(first, last + 1) % lidar.columns
    return rows, columns
