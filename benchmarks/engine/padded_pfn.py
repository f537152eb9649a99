# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Padded pillar feature net, as OpenPCDet and mmdetection3d implement it, for comparison."""

from __future__ import annotations

import torch
from torch import Tensor

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models import PillarFeatureNet
from tiny_bev_ros.models.pillars import pillarize

MAX_POINTS = 32


def voxelise(points: Tensor, grid: BevGrid) -> tuple[Tensor, Tensor, Tensor]:
    """Gathers the points of each pillar in an array padded with zeros.

    Args:
        points: (N,F) float32 points.
        grid: grid of the pillars.

    Returns:
        Voxels (P,32,F) float32, their numbers of points (P,) int64, at most 32, and cells (P,2)
        int64 [row, col].
    """
    pillars = pillarize(points, grid)
    first = pillars.counts.cumsum(0) - pillars.counts
    rank = torch.arange(len(pillars.pillar)) - first[pillars.pillar]
    kept = rank < MAX_POINTS
    voxels = points.new_zeros(len(pillars.counts), MAX_POINTS, points.shape[1])
    voxels[pillars.pillar[kept], rank[kept]] = pillars.points[kept]
    return voxels, pillars.counts.clamp(max=MAX_POINTS), pillars.cells


def encode(
    network: PillarFeatureNet, voxels: Tensor, counts: Tensor, cells: Tensor, grid: BevGrid
) -> Tensor:
    """Computes the features (P,C) of voxels, over all of their rows, padding included.

    Args:
        network: pillar feature net of 10 input channels, whose weights are used.
        voxels: (P,32,4) float32 points, from `voxelise`.
        counts: (P,) numbers of points, from `voxelise`.
        cells: (P,2) cells, from `voxelise`.
        grid: grid of the pillars.
    """
    xyz = voxels[:, :, :3]
    to_mean = xyz - (xyz.sum(1) / counts[:, None])[:, None]
    row, col = cells.to(xyz.dtype).unbind(1)
    z_middle = torch.full_like(row, sum(grid.z_range) / 2)
    centre = torch.stack([grid.x_axis.centre(col), grid.y_axis.centre(row), z_middle], 1)
    rows = torch.cat([voxels, to_mean, xyz - centre[:, None]], 2)
    rows *= (torch.arange(MAX_POINTS) < counts[:, None])[:, :, None]
    features = network.norm(network.linear(rows.flatten(0, 1))).relu()
    return features.unflatten(0, (-1, MAX_POINTS)).amax(1)
