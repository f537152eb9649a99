# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Scan patterns of Livox LiDARs, which do not repeat from frame to frame.

Each function draws the phases of one frame of 0.1 s and returns the directions of its rays,
(N,2) float64 azimuth (to the left) and elevation in degrees.
"""

from __future__ import annotations

import numpy as np

_DEGREE = np.pi / 180


def mid360_pattern(random: np.random.Generator) -> np.ndarray:
    """Returns 20,000 directions of the Mid-360: 360 degrees, -7 to 52 degrees high.

    Four lasers in a line spin 178 times per second, and their line spins with them; a slower
    sweep lifts and lowers them 9 times per second, as in scans that Livox published.
    """
    seconds = np.arange(5000)[:, None] / 50_000
    spin, sweep, line = random.uniform(0, 2 * np.pi, 3)
    azimuth = spin - 2 * np.pi * 178 * seconds
    # The sweep is nearly a triangle wave, with rounded ends.
    wave = np.arcsin(0.9 * np.sin(sweep + 2 * np.pi * 9 * seconds)) / np.arcsin(0.9)
    offset = 2.5 * (np.arange(4) - 1.5)
    middle = 22.5 + (29.5 - 3.75) * wave
    elevation = middle + offset * np.cos(azimuth - line)
    azimuth = azimuth / _DEGREE + offset * np.sin(azimuth - line) / np.cos(middle * _DEGREE)
    return np.stack([azimuth.ravel(), elevation.ravel()], axis=1)


def avia_pattern(random: np.random.Generator) -> np.ndarray:
    """Returns 24,000 directions of the Avia: 70.4 by 77.2 degrees, straight ahead.

    Two prisms of equal deflection draw a rosette of 70.4 degrees; speeds are those of the
    Mid-40 (Brazeal et al., Sensors 2021, 21(14), 4722). Six lasers stand above each other.
    """
    seconds = np.arange(4000)[:, None] / 40_000
    first, second = random.uniform(0, 2 * np.pi, 2)
    first = first + 2 * np.pi * 7294 / 60 * seconds
    second = second - 2 * np.pi * 4664 / 60 * seconds
    azimuth = 17.6 * (np.cos(first) + np.cos(second)) + np.zeros(6)
    elevation = 17.6 * (np.sin(first) + np.sin(second)) + np.linspace(-3.4, 3.4, 6)
    return np.stack([azimuth.ravel(), elevation.ravel()], axis=1)


def hap_pattern(random: np.random.Generator) -> np.ndarray:
    """Returns 45,200 directions of the HAP: 120 by 25 degrees, straight ahead.

    Six lasers draw 100 lines across the field of view, each bent in another way, so that
    lines cross; lines begin anew at other heights in every frame.
    """
    line = np.arange(100)[:, None]
    begin, height, bend = random.random((100, 1)), random.random(), random.uniform(0, 2 * np.pi)
    along = (np.arange(452) + begin) / 452
    middle = -11.6 + 23.2 * (line + height) / 100
    elevation = middle + 0.9 * np.sin(np.pi * along + bend + line % 6 * np.pi / 3)
    azimuth = np.broadcast_to(120 * along - 60, elevation.shape)
    return np.stack([azimuth.ravel(), elevation.ravel()], axis=1)
