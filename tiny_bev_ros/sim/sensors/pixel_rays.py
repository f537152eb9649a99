# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Rays of a pinhole camera against convex parts and a height map, compiled by numba.

Each pixel has one ray, whose direction has x = 1, so that the ray parameter is the depth. A
part is tested only in the pixels that its bounding box covers.
"""

from __future__ import annotations

import math

import numpy as np

from tiny_bev_ros.sim.sensors.ground_rays import trace_ground
from tiny_bev_ros.sim.sensors.half_spaces import jit
from tiny_bev_ros.sim.sensors.lidar_rays import intersect

NOTHING, GROUND = -3, -2
# Near plane in metres.
_NEAR = 0.1


@jit
def _window(
    corners: np.ndarray, focal: float, right: float, down: float, rows: int, cols: int
) -> tuple[int, int, int, int, float]:
    """Returns rows and columns, ends excluded, that a box may cover, and its least depth."""
    low_u, high_u, low_v, high_v = 1e9, -1e9, 1e9, -1e9
    least = 1e9
    for i in range(8):
        for axis in range(3):
            # The corner, or the intersection of its edge with the near plane.
            j = i ^ (1 << axis)
            x, y, z = corners[i]
            if x < _NEAR:
                ahead, left, up = corners[j]
                if ahead < _NEAR:
                    continue
                fraction = (_NEAR - x) / (ahead - x)
                x, y, z = _NEAR, y + fraction * (left - y), z + fraction * (up - z)
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
    """Intersects the rays of all pixels with the parts, and keeps the nearest.

    Positions are relative to the camera: x ahead, y left, z up.

    Args:
        planes: half-spaces from `part_planes`.
        counts: number of half-spaces from `part_planes`.
        corners: (S,8,3) corners of a box around each part; two corners whose indices differ in
            one bit share an edge.
        density: (S,) fraction of rays that stop.
        focal: focal length in pixels.
        centre: principal point in pixels, column first.
        seed: seed of the rays that pass through porous parts.
        depth: (H,W) float32 depth in metres; overwritten where a part is nearer.
        hit: (H,W) int32; receives the index of the part.
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
                near, far, _ = intersect(planes[i, : counts[i]], 1.0, (right - col) / focal, up)
                # Skips parts behind the camera or behind a nearer part.
                if near >= far or near < _NEAR or near >= depth[row, col]:
                    continue
                if density[i] < 1 and np.random.random() > density[i]:
                    continue
                depth[row, col], hit[row, col] = near, i


@jit
def face_normals(
    planes: np.ndarray,
    counts: np.ndarray,
    focal: float,
    centre: tuple[float, float],
    hit: np.ndarray,
) -> np.ndarray:
    """Returns (H,W,3) float32 normals of visible faces; zeros where there is no part.

    Arguments as in `cast_parts`, whose ``hit`` is read.
    """
    rows, cols = hit.shape
    normals = np.zeros((rows, cols, 3), np.float32)
    for row in range(rows):
        for col in range(cols):
            part = hit[row, col]
            if part < 0:
                continue
            left, up = (centre[0] - col) / focal, (centre[1] - row) / focal
            # The entry face of a convex part is the farthest of those facing the camera.
            farthest = np.float32(-1)
            for j in range(counts[part]):
                plane = planes[part, j]
                toward = plane[0] + left * plane[1] + up * plane[2]
                if toward < 0 and plane[3] / toward > farthest:
                    farthest = plane[3] / toward
                    normals[row, col] = plane[:3]
    return normals


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
    """Intersects the rays of all pixels with the ground.

    Args:
        heights: (H,W) float32 heights, as in `lidar_rays.cast_ground`.
        corner: (2,) [x, y] of the lower edges of the map, in metres.
        cell: side of a cell in metres.
        origin: (3,) position of the camera in the map's frame.
        turn: (3,3) rotation from the camera's frame to the map's.
        focal: focal length in pixels.
        centre: principal point in pixels, column first.
        max_range: horizontal range limit in metres.
        depth: (H,W) float32 depth of the parts; overwritten where the ground is nearer.
        hit: (H,W) int32; receives GROUND.
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
            # Range limit: below the highest ground, and not behind a part.
            limit = min(max_range, depth[row, col] * level)
            if slope > 0:
                limit = min(limit, (highest - origin[2]) / slope)
            reach, _ = trace_ground(heights, corner, cell, origin, ray_x, ray_y, slope, limit)
            if reach / level < depth[row, col]:
                depth[row, col], hit[row, col] = reach / level, GROUND
