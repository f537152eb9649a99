# SPDX-License-Identifier: Apache-2.0
"""Rays of a pinhole camera against convex parts and a height map, compiled by numba.

There is one ray for each pixel. Its direction is 1 ahead, so that how far one has come along it is
the depth. A part is looked for only in the pixels that the box around it fills.
"""

from __future__ import annotations

import math

import numpy as np

from tiny_bev_ros.sim.sensors.half_spaces import jit
from tiny_bev_ros.sim.sensors.lidar_rays import meet

NOTHING, GROUND = -3, -2
# What is nearer is not seen, in metres.
_NEAR = 0.1
# Steeper than that only kerbs rise, and not by more than that, in metres.
_STEEPEST, _KERB = 1.0, 0.3


@jit
def _window(
    corners: np.ndarray, focal: float, right: float, down: float, rows: int, cols: int
) -> tuple[int, int, int, int, float]:
    """Rows and columns, ends excluded, that a box may fill, and its least depth."""
    low_u, high_u, low_v, high_v = 1e9, -1e9, 1e9, -1e9
    least = 1e9
    for i in range(8):
        for axis in range(3):
            # Each corner, or where the edge from it to the next comes before the camera.
            j = i ^ (1 << axis)
            x, y, z = corners[i]
            if x < _NEAR:
                ahead, left, up = corners[j]
                if ahead < _NEAR:
                    continue
                share = (_NEAR - x) / (ahead - x)
                x, y, z = _NEAR, y + share * (left - y), z + share * (up - z)
            u, v = right - focal * y / x, down - focal * z / x
            low_u, high_u = min(low_u, u), max(high_u, u)
            low_v, high_v = min(low_v, v), max(high_v, v)
            least = min(least, x)
    return (
        max(0, math.floor(max(low_v, -1.0))),
        min(rows, math.ceil(min(high_v, rows + 1.0)) + 1),
        max(0, math.floor(max(low_u, -1.0))),
        min(cols, math.ceil(min(high_u, cols + 1.0)) + 1),
        least,
    )


@jit
def cast_parts(
    planes: np.ndarray,
    counts: np.ndarray,
    corners: np.ndarray,
    density: np.ndarray,
    focal: float,
    centre: tuple[float, float],
    seed: int,
    depth: np.ndarray,
    hit: np.ndarray,
) -> None:
    """Lets the rays of all pixels meet the parts, and keeps what is nearest.

    All places are relative to the camera: x ahead, y left, z up.

    Args:
        planes: of `planes_of`.
        counts: of `planes_of`.
        corners: (S,8,3) of a box around each part; two whose numbers differ in one bit share
            an edge.
        density: (S,) part of the rays that stop.
        focal: focal length in pixels.
        centre: pixel that looks straight ahead, columns first.
        seed: of which rays pass through what is porous.
        depth: (H,W) float32; where a part is nearer, gets its depth in metres.
        hit: (H,W) int32, gets the index of the part.
    """
    np.random.seed(seed)
    rows, cols = depth.shape
    right, down = centre
    for i in range(len(counts)):
        top, bottom, first, last, least = _window(corners[i], focal, right, down, rows, cols)
        for row in range(top, bottom):
            up = (down - row) / focal
            for col in range(first, last):
                if depth[row, col] <= least:
                    continue
                near, far, _ = meet(planes[i, : counts[i]], 1.0, (right - col) / focal, up)
                # In front of the camera, and stopped.
                if near >= far or near < _NEAR or near >= depth[row, col]:
                    continue
                if density[i] < 1 and np.random.random() > density[i]:
                    continue
                depth[row, col], hit[row, col] = near, i


@jit
def normals_of(
    planes: np.ndarray,
    counts: np.ndarray,
    focal: float,
    centre: tuple[float, float],
    hit: np.ndarray,
) -> np.ndarray:
    """(H,W,3) float32 normals of the faces that are seen; zeros where there is no part.

    The arguments are those of `cast_parts`, whose ``hit`` is read.
    """
    rows, cols = hit.shape
    normals = np.zeros((rows, cols, 3), np.float32)
    for row in range(rows):
        for col in range(cols):
            part = hit[row, col]
            if part < 0:
                continue
            left, up = (centre[0] - col) / focal, (centre[1] - row) / focal
            # A convex part is entered through the last of the faces that look here.
            farthest = np.float32(-1)
            for j in range(counts[part]):
                plane = planes[part, j]
                toward = plane[0] + left * plane[1] + up * plane[2]
                if toward < 0 and plane[3] / toward > farthest:
                    farthest = plane[3] / toward
                    normals[row, col] = plane[:3]
    return normals


@jit
def _height(heights: np.ndarray, x: float, y: float) -> float:
    """Of the ground at a place in cells from the middle of the first, between them."""
    rows, cols = heights.shape
    x, y = min(max(x, 0.0), cols - 1.001), min(max(y, 0.0), rows - 1.001)
    col, row = int(x), int(y)
    x, y = x - col, y - row
    below = heights[row, col] * (1 - x) + heights[row, col + 1] * x
    above = heights[row + 1, col] * (1 - x) + heights[row + 1, col + 1] * x
    return below * (1 - y) + above * y


@jit
def cast_ground(
    heights: np.ndarray,
    corner: np.ndarray,
    cell: float,
    origin: np.ndarray,
    turn: np.ndarray,
    focal: float,
    centre: tuple[float, float],
    max_range: float,
    depth: np.ndarray,
    hit: np.ndarray,
) -> None:
    """Where the rays of all pixels meet the ground.

    Args:
        heights: (H,W) float32, as in `rays.cast_ground`.
        corner: as there.
        cell: as there.
        origin: (3,) of the camera, in the map's frame.
        turn: (3,3) from the camera's frame to the map's.
        focal: as in `cast_parts`.
        centre: as there.
        max_range: in metres, level.
        depth: as there; of parts, beyond which no ground is looked for.
        hit: as there; gets GROUND.
    """
    rows, cols = depth.shape
    highest = heights.max()
    for row in range(rows):
        for col in range(cols):
            left, up = (centre[0] - col) / focal, (centre[1] - row) / focal
            ray_x = turn[0, 0] + turn[0, 1] * left + turn[0, 2] * up
            ray_y = turn[1, 0] + turn[1, 1] * left + turn[1, 2] * up
            ray_z = turn[2, 0] + turn[2, 1] * left + turn[2, 2] * up
            level = math.sqrt(ray_x * ray_x + ray_y * ray_y)
            ray_x, ray_y, slope = ray_x / level, ray_y / level, ray_z / level
            before, above_before, reach = 0.0, 1.0, _NEAR
            # As far as it may still be met: not in the sky, nor behind a part.
            limit = min(max_range, depth[row, col] * level)
            if slope > 0:
                limit = min(limit, (highest - origin[2]) / slope)
            while before < limit:
                x = (origin[0] + reach * ray_x - corner[0]) / cell - 0.5
                y = (origin[1] + reach * ray_y - corner[1]) / cell - 0.5
                above = origin[2] + slope * reach - _height(heights, x, y)
                if above <= 0:
                    share = above_before / (above_before - above)
                    at = (before + (reach - before) * share) / level
                    if at < depth[row, col]:
                        depth[row, col], hit[row, col] = at, GROUND
                    break
                before, above_before = reach, above
                # No farther than the ground could have come up by then.
                safe = (above - _KERB) / (abs(slope) + _STEEPEST)
                reach += max(0.1, 0.008 * reach, safe)
