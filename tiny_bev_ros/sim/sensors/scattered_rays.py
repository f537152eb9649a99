# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Rays of any directions against convex parts and a height map, compiled by numba.

Rays are sorted by azimuth: a part is tested only with those between the sides of its outline.
"""

from __future__ import annotations

import math

import numpy as np

from tiny_bev_ros.sim.sensors.ground_rays import trace_ground
from tiny_bev_ros.sim.sensors.half_spaces import jit
from tiny_bev_ros.sim.sensors.lidar_rays import azimuth_span, outline, reflect

# Distance in metres from which on rays are cast.
_NEAREST = 0.05


@jit
def cast_parts(
    planes: np.ndarray,
    counts: np.ndarray,
    position: np.ndarray,
    extent: np.ndarray,
    yaw: np.ndarray,
    porous: np.ndarray,
    rays: np.ndarray,
    azimuth: np.ndarray,
    seed: int,
    distance: np.ndarray,
    cosine: np.ndarray,
    hit: np.ndarray,
) -> None:
    """Intersects all rays with the parts, and keeps the nearest.

    Args:
        planes: half-spaces from `part_planes`.
        counts: number of half-spaces from `part_planes`.
        position: (S,3) centres of the parts, relative to the sensor.
        extent: (S,3) half extents of an upright box around each part.
        yaw: (S,) yaw of that box.
        porous: (S,2) density and depth of each part.
        rays: (R,3) float32 directions of length 1.
        azimuth: (R,) azimuths of the rays in radians, -pi to pi, rising.
        seed: seed of the rays that pass through porous parts.
        distance: (R,) float32 distance along the ray; overwritten where a part is nearer.
        cosine: (R,) float32; receives the cosine of the angle of incidence.
        hit: (R,) int32; receives the index of the part.
    """
    np.random.seed(seed)
    begin = np.empty(2, np.float32)
    level = np.sqrt(rays[:, 0] ** 2 + rays[:, 1] ** 2)
    slopes = rays[:, 2] / level
    for i in np.argsort(position[:, 0] ** 2 + position[:, 1] ** 2):
        cos, sin = math.cos(yaw[i]), math.sin(yaw[i])
        half = extent[i]
        low, high = position[i, 2] - half[2], position[i, 2] + half[2]
        left, right = azimuth_span(position[i], half, cos, sin, begin)
        # Slopes of rays that may meet the box, from its least and largest horizontal distance.
        beside_x, beside_y = abs(begin[0]) - half[0], abs(begin[1]) - half[1]
        least = max(math.hypot(max(beside_x, 0.0), max(beside_y, 0.0)), _NEAREST)
        most = math.hypot(beside_x + 2 * half[0], beside_y + 2 * half[1])
        lowest, highest = low / (least if low < 0 else most), high / (least if high > 0 else most)
        for turn in range(-1, 2):
            first = np.searchsorted(azimuth, left + turn * 2 * math.pi)
            last = np.searchsorted(azimuth, right + turn * 2 * math.pi)
            for ray in range(first, last):
                slope = slopes[ray]
                if slope < lowest or slope > highest or distance[ray] < least:
                    continue
                x, y, z = rays[ray]
                along_x, along_y = x / level[ray], y / level[ray]
                enter, leave = outline(begin, half, cos, sin, along_x, along_y)
                if enter >= leave or distance[ray] < enter:
                    continue
                if max(slope * enter, slope * leave) < low:
                    continue
                if min(slope * enter, slope * leave) > high:
                    continue
                near, incidence = reflect(planes[i, : counts[i]], porous[i], x, y, z)
                if near < distance[ray]:
                    distance[ray], cosine[ray], hit[ray] = near, incidence, i


@jit
def cast_ground(
    heights: np.ndarray,
    corner: np.ndarray,
    cell: float,
    origin: np.ndarray,
    rays: np.ndarray,
    max_range: float,
    distance: np.ndarray,
    cosine: np.ndarray,
    hit: np.ndarray,
) -> None:
    """Intersects all rays with the ground, after `cast_parts`.

    Args:
        heights: (H,W) float32 heights, as in `lidar_rays.cast_ground`.
        corner: (2,) [x, y] of the lower edges of the map, in metres.
        cell: side of a cell in metres.
        origin: (3,) position of the sensor in the map's frame.
        rays: (R,3) float32 directions of length 1.
        max_range: horizontal range limit in metres.
        distance: (R,) float32 distance along the ray; overwritten where ground is nearer.
        cosine: (R,) float32; receives the cosine of the angle of incidence.
        hit: (R,) int32; receives -2 for the ground.
    """
    highest = heights.max()
    for ray in range(len(rays)):
        x, y, z = rays[ray]
        level = math.sqrt(x * x + y * y)
        slope = z / level
        limit = min(max_range, distance[ray] * level)
        if slope > 0:
            limit = min(limit, (highest - origin[2]) / slope)
        reach, rise = trace_ground(
            heights, corner, cell, origin, x / level, y / level, slope, limit
        )
        if reach / level < distance[ray]:
            distance[ray], hit[ray] = reach / level, -2
            cosine[ray] = max((rise - slope) * level / math.sqrt(1 + rise * rise), 0.0)
