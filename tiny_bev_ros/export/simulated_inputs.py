# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Simulated clouds and their pseudo-images, by which exports are calibrated and compared."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.pillar_runner import PillarRunner
from tiny_bev_ros.sim import LIDARS, ego_pose, scan, street, street_plan

# Least side of a cell in metres: maps of fewer metres would lie inside the innermost ring of the
# simulated LiDAR.
_MIN_CELL = 0.2


@functools.lru_cache(maxsize=4)
def simulated_points(seed: int, values: int, lidar: str = 'vlp16') -> np.ndarray:
    """Simulates a sweep of a street.

    Args:
        seed: number of the street.
        values: number of values of a point, 4 or 5; a time is 0.
        lidar: name of the sensor, a key of LIDARS.

    Returns:
        (N, values) float32 x, y, z, intensity(, time).
    """
    sweep = scan(street(seed).at(0.0), LIDARS[lidar], ego_pose(street_plan(seed), 0.0), seed)
    return np.pad(sweep.points, [(0, 0), (0, values - sweep.points.shape[1])])


def centred_grid(models: LoadedModels, size: tuple[int, int]) -> BevGrid:
    """Returns a grid with the sensor in its middle, of cells that are large enough for points."""
    assert models.grid is not None
    cell, (rows, cols) = max(models.grid.resolution, _MIN_CELL), size
    x_low, y_low = -(cols // 2) * cell, -(rows // 2) * cell
    ranges = (x_low, x_low + cols * cell), (y_low, y_low + rows * cell)
    return BevGrid(*ranges, models.grid.z_range, cell)


def make_pseudo_images(
    models: LoadedModels, grid: BevGrid, clouds: Iterable[np.ndarray]
) -> list[Tensor]:
    """Computes the pseudo-image (1,C,H,W) of each cloud, by the pillars of `Detector`."""
    assert models.pfn is not None
    runner = PillarRunner(models.pfn, grid, torch.device('cpu'))
    # Copies, as tensors of inference mode cannot be recorded.
    return [runner.scatter(runner.pillars(cloud)).clone() for cloud in clouds]
