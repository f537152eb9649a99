# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Clouds of a spinning sensor on a plane between a kerb and two walls."""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.models.sensor_mounting import MountingEstimate

VLP16 = tuple(np.linspace(15, -15, 16).tolist())
MID360_LIKE = tuple(np.linspace(52, -7, 40).tolist())
KERB_Y, KERB_HEIGHT, WALL_Y = 4.0, 0.15, 14.0


def ground_cloud(
    height: float = 1.73,
    pitch: float = 0.0,
    roll: float = 0.0,
    elevations: tuple[float, ...] = VLP16,
    azimuths: tuple[float, float] = (-180.0, 180.0),
    noise: float = 0.02,
    kerb: bool = True,
    walls: bool = True,
    seed: int = 0,
) -> np.ndarray:
    """Returns (N,4) float32 x, y, z, intensity in the frame of the sensor.

    Args:
        height: height of the sensor above the ground, m.
        pitch, roll: angles of the sensor, degrees, as in MountingEstimate.
        elevations: elevations of the beams, degrees.
        azimuths: ends of the field of view, degrees.
        noise: standard deviation of ranges, m.
        kerb: True for a pavement to the left.
        walls: True for walls to both sides.
        seed: seed of the noise.
    """
    random = np.random.default_rng(seed)
    to_level = MountingEstimate(height, np.radians(pitch), np.radians(roll)).rotation
    azimuth, elevation = np.meshgrid(
        np.radians(np.arange(*azimuths, 0.4)), np.radians(elevations), indexing='ij'
    )
    beams = np.stack(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ],
        axis=-1,
    ).reshape(-1, 3)
    level = beams @ to_level.T
    down = np.maximum(-level[:, 2], 1e-9)
    reach = np.maximum(height, 1e-3) / down
    if kerb:
        on_kerb = level[:, 1] * reach > KERB_Y
        reach = np.where(on_kerb, np.maximum(height - KERB_HEIGHT, 0.1) / down, reach)
    if walls:
        reach = np.minimum(reach, WALL_Y / np.maximum(np.abs(level[:, 1]), 1e-9))
    seen = (reach > 1) & (reach < 80)
    measured = reach[seen] + random.normal(0, noise, int(seen.sum()))
    points = beams[seen] * measured[:, None]
    return np.column_stack([points, random.random(len(points))]).astype(np.float32)
