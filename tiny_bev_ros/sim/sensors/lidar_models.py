# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Models of LiDARs, from their data sheets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tiny_bev_ros.sim.sensors.livox_patterns import avia_pattern, hap_pattern, mid360_pattern


@dataclass(frozen=True)
class Lidar:
    """Model of a LiDAR: one that spins, or one with a scan pattern.

    Attributes:
        elevations: beam elevations of a spinning LiDAR in degrees, falling.
        columns: number of firings per turn of a spinning LiDAR.
        min_range, max_range: range limits in metres.
        noise: standard deviation of range in metres.
        dropout: probability that a return is lost at random.
        faintness: reflectivity * cosine / m^2 at which 63 % of rays return.
        pattern: function that draws the directions of a frame, see `livox_patterns`; None for
            a spinning LiDAR.
        around: true for a field of view of 360 degrees, false for one straight ahead.
        heights: lowest and highest usual height above the ground, in metres.
    """

    elevations: tuple[float, ...] = ()
    columns: int = 1800
    min_range: float = 1.0
    max_range: float = 120.0
    noise: float = 0.02
    dropout: float = 0.03
    faintness: float = 4e-6
    pattern: Callable[[np.random.Generator], np.ndarray] | None = None
    around: bool = True
    heights: tuple[float, float] = (0.0, 4.0)


@dataclass(frozen=True)
class Mounting:
    """Mounting of a sensor on its vehicle.

    Attributes:
        height: height above the ground in metres.
        pitch, roll: angles in radians, nose down and left side up positive (REP-103).
    """

    height: float = 1.73
    pitch: float = 0.0
    roll: float = 0.0


def _even(top: float, bottom: float, beams: int) -> tuple[float, ...]:
    return tuple(np.linspace(top, bottom, beams).tolist())


_VLP_32C = (
    *(15, 10.333, 7, 4.667, 3.333, 2.333, 1.667, 1.333, 1, 0.667, 0.333, 0, -0.333, -0.667),
    *(-1, -1.333, -1.667, -2, -2.333, -2.667, -3, -3.333, -3.667, -4, -4.667, -5.333, -6.148),
    *(-7.254, -8.843, -11.31, -15.639, -25),
)
_PANDAR_64 = (
    *(15, 11, 8, 5, 3),
    *_even(2, -6, 49),
    *(-7, -8, -9, -10, -11, -12, -13, -14, -19, -25),
)

# Range noise is the accuracy in the data sheet, taken as two standard deviations, or its
# precision. The HDL-64E has 32 beams in narrow steps, then 32 in wide ones; as few
# of its beams point upward, it is mounted on roofs. Few of the Mid-360's point downward.
LIDARS = {
    'hdl64': Lidar(
        (*_even(2, -8.33, 32), *_even(-8.83, -24.8, 32)),
        columns=1800,
        min_range=1.5,
        noise=0.015,
        heights=(1.0, 4.0),
    ),
    'hdl32': Lidar(_even(10.67, -30.67, 32), columns=1085, max_range=90, faintness=8e-6),
    'vlp16': Lidar(_even(15, -15, 16), columns=1800, max_range=100, noise=0.015, faintness=8e-6),
    'vlp32': Lidar(_VLP_32C, columns=1800, max_range=150, noise=0.015),
    'pandar64': Lidar(_PANDAR_64, columns=1800, max_range=150, noise=0.01, faintness=3e-6),
    'os1_64': Lidar(_even(16.6, -16.6, 64), columns=1024, noise=0.025, faintness=8e-6),
    'os1_128': Lidar(_even(22.5, -22.5, 128), columns=1024, noise=0.025, faintness=8e-6),
    'mid360': Lidar(
        pattern=mid360_pattern, min_range=0.1, max_range=70, faintness=4e-5, heights=(0.0, 1.2)
    ),
    'avia': Lidar(pattern=avia_pattern, max_range=320, faintness=1.8e-6, around=False),
    'hap': Lidar(pattern=hap_pattern, min_range=0.5, max_range=150, faintness=3e-6, around=False),
}
