# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Rays of a spinning sensor against convex parts and a height map, compiled by numba.

Rays of one column share their azimuth. A part is tested only in the columns and beams that its
outline covers; the ground is traced along one profile per column.
"""

from __future__ import annotations

import math

import numpy as np

from tiny_bev_ros.sim.sensors.half_spaces import jit


@jit
def azimuth_span(
    position: np.ndarray, half: np.ndarray, cos: float, sin: float, begin: np.ndarray
) -> tuple[float, float]:
    """Returns the azimuths between which an upright box lies: a whole turn around the sensor.

    Args:
        position: (3,) centre of the box, relative to the sensor.
        half: (3,) half extents of the box.
        cos: cosine of the yaw of the box.
        sin: sine of the yaw of the box.
        begin: (2,) receives the position of the sensor in the frame of the box.
    """
    begin[0] = -(cos * position[0] + sin * position[1])
    begin[1] = -(cos * position[1] - sin * position[0])
    heading = math.atan2(position[1], position[0])
    if abs(begin[0]) <= half[0] and abs(begin[1]) <= half[1]:
        return heading - math.pi, heading + math.pi
    low, high = np.float32(0), np.float32(0)
    for j in range(4):
        along = half[0] if j < 2 else -half[0]
        across = half[1] if j % 2 == 0 else -half[1]
        corner_x = np.float32(position[0] + cos * along - sin * across)
        corner_y = np.float32(position[1] + sin * along + cos * across)
        angle = math.atan2(corner_y, corner_x) - heading
        angle -= 2 * math.pi * math.floor(angle / (2 * math.pi) + 0.5)
        low, high = min(low, angle), max(high, angle)
    if high - low > math.pi - 0.01:
        return heading - math.pi, heading + math.pi
    return heading + low, heading + high


@jit
def outline(
    begin: np.ndarray, half: np.ndarray, cos: float, sin: float, ray_x: float, ray_y: float
) -> tuple[float, float]:
    """Returns the distances at which a column enters and leaves an upright box, from above.

    ``begin`` is the position of the sensor in the frame of the box; the direction (ray_x,
    ray_y) has length 1.
    """
    enter, leave = np.float32(0.05), np.float32(1e9)
    for axis in range(2):
        along = cos * ray_x + sin * ray_y if axis == 0 else cos * ray_y - sin * ray_x
        if abs(along) < 1e-9:
            along = 1e-9
        middle, reach = -begin[axis] / along, half[axis] / abs(along)
        enter, leave = max(enter, middle - reach), min(leave, middle + reach)
    return enter, leave


@jit
def _first_below(elevation: np.ndarray, angle: float) -> int:
    """Returns the first beam, from the top, that is not above an angle."""
    left, right = 0, len(elevation)
    while left < right:
        half = (left + right) // 2
        if elevation[half] > angle:
            left = half + 1
        else:
            right = half
    return left


@jit
def intersect(planes: np.ndarray, x: float, y: float, z: float) -> tuple[float, float, float]:
    """Returns entry and exit distance of a part along a ray, and the cosine of incidence.

    The ray (x, y, z) misses the part where the exit is not beyond the entry.
    """
    near, far, cosine = np.float32(0), np.float32(1e9), np.float32(-1)
    for j in range(len(planes)):
        plane = planes[j]
        toward = x * plane[0] + y * plane[1] + z * plane[2]
        if toward < 0:
            at = plane[3] / toward
            if at > near:
                near, cosine = at, -toward
        elif toward > 0:
            far = min(far, plane[3] / toward)
        elif plane[3] < 0:
            far = np.float32(-1)
        if near >= far:
            break
    if cosine < 0:  # the sensor is inside
        far = np.float32(-1)
    return near, far, cosine


@jit
def reflect(
    planes: np.ndarray, porous: np.ndarray, x: float, y: float, z: float
) -> tuple[float, float]:
    """Returns the distance at which a part reflects a ray, and the cosine of incidence.

    The distance is infinite for a ray (x, y, z) that misses the part, or by chance passes through
    it. A porous part reflects at a random depth.

    Args:
        planes: half-spaces of the part.
        porous: (2,) density and depth of the part.
        x: x of the direction, which has length 1.
        y: y of the direction.
        z: z of the direction.
    """
    near, far, cosine = intersect(planes, x, y, z)
    if near >= far or np.random.random() > porous[0]:
        return np.inf, cosine
    return near + np.random.random() * min(far - near, porous[1]), cosine


@jit
def cast_parts(
    planes: np.ndarray,
    counts: np.ndarray,
    position: np.ndarray,
    extent: np.ndarray,
    yaw: np.ndarray,
    porous: np.ndarray,
    elevation: np.ndarray,
    tilt: np.ndarray,
    first_azimuth: float,
    step: float,
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
        elevation: (B,) beam elevations in radians, falling.
        tilt: (C,) angle added to the elevation in each column.
        first_azimuth: azimuth of the first column in radians.
        step: azimuth step between columns in radians.
        seed: seed of the rays that pass through porous parts.
        distance: (C,B) float32 distance along the ray; overwritten where a part is nearer.
        cosine: (C,B) float32; receives the cosine of the angle of incidence.
        hit: (C,B) int32; receives the index of the part.
    """
    np.random.seed(seed)
    columns, beams = distance.shape
    begin = np.empty(2, np.float32)
    for i in np.argsort(position[:, 0] ** 2 + position[:, 1] ** 2):
        cos, sin = math.cos(yaw[i]), math.sin(yaw[i])
        half = extent[i]
        low, high = position[i, 2] - half[2], position[i, 2] + half[2]
        left, right = azimuth_span(position[i], half, cos, sin, begin)
        first = math.ceil((left - first_azimuth) / step)
        last = min(math.floor((right - first_azimuth) / step), first + columns - 1)
        for wrapped in range(first, last + 1):
            column = wrapped % columns
            azimuth = first_azimuth + column * step
            enter, leave = outline(begin, half, cos, sin, math.cos(azimuth), math.sin(azimuth))
            if enter >= leave:
                continue
            top = math.atan(high / (enter if high > 0 else leave)) - tilt[column]
            bottom = math.atan(low / (leave if low > 0 else enter)) - tilt[column]
            for beam in range(_first_below(elevation, top), beams):
                if elevation[beam] < bottom:
                    break
                if distance[column, beam] < enter:
                    continue
                angle = elevation[beam] + tilt[column]
                flat = math.cos(angle)
                near, incidence = reflect(
                    planes[i, : counts[i]],
                    porous[i],
                    flat * math.cos(azimuth),
                    flat * math.sin(azimuth),
                    math.sin(angle),
                )
                if near < distance[column, beam]:
                    distance[column, beam] = near
                    cosine[column, beam] = incidence
                    hit[column, beam] = i


@jit
def cast_ground(
    heights: np.ndarray,
    corner: np.ndarray,
    cell: float,
    origin: np.ndarray,
    elevation: np.ndarray,
    tilt: np.ndarray,
    first_azimuth: float,
    step: float,
    max_range: float,
    distance: np.ndarray,
    cosine: np.ndarray,
) -> None:
    """Intersects rays with the ground: a height map whose edge cells extend outward.

    Args:
        heights: (H,W) float32 heights at cell centres, rows along y, columns along x.
        corner: (2,) [x, y] of the lower edges of the map, in metres.
        cell: side of a cell in metres.
        origin: (3,) position of the sensor in the map's frame.
        elevation: (B,) beam elevations, as in `cast_parts`.
        tilt: (C,) angle added to the elevation in each column.
        first_azimuth: azimuth of the first column in radians.
        step: azimuth step between columns in radians.
        max_range: range limit in metres.
        distance: (C,B) float32 distance along the ray; overwritten where ground is nearer.
        cosine: (C,B) float32; receives the cosine of the angle of incidence.
    """
    rows, cols = heights.shape
    columns, beams = distance.shape
    for column in range(columns):
        azimuth = first_azimuth + column * step
        ray_x, ray_y = math.cos(azimuth), math.sin(azimuth)
        beam = beams - 1
        before, before_height = 0.3, np.float32(0)
        reach = 0.3
        started = False
        slope = math.tan(elevation[beam] + tilt[column])
        while reach < max_range and beam >= 0:
            x = (origin[0] + reach * ray_x - corner[0]) / cell - 0.5
            y = (origin[1] + reach * ray_y - corner[1]) / cell - 0.5
            x, y = min(max(x, 0.0), cols - 1.001), min(max(y, 0.0), rows - 1.001)
            col, row = int(x), int(y)
            x, y = x - col, y - row
            height = (
                (heights[row, col] * (1 - x) + heights[row, col + 1] * x) * (1 - y)
                + (heights[row + 1, col] * (1 - x) + heights[row + 1, col + 1] * x) * y
                - origin[2]
            )
            if started:
                rise = (height - before_height) / (reach - before)
                while beam >= 0 and height >= slope * reach:
                    # Crossing of the ray with this segment of the profile.
                    under = slope * before - before_height
                    over = height - slope * reach
                    fraction = under / max(under + over, 1e-9)
                    at = before + (reach - before) * min(max(fraction, 0.0), 1.0)
                    long = math.sqrt(1 + slope * slope)
                    distance[column, beam] = at * long
                    cosine[column, beam] = max(
                        (rise - slope) / (long * math.sqrt(1 + rise * rise)), 0.0
                    )
                    beam -= 1
                    if beam >= 0:
                        slope = math.tan(elevation[beam] + tilt[column])
            started = True
            before, before_height = reach, height
            reach += max(0.12, 0.008 * reach)
