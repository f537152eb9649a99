# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""FusedPfn: the pillar feature net in one pass over the points, on the CPU."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.kernels import pillar_kernels as kernels
from tiny_bev_ros.inference.sparse.row_padding import padded
from tiny_bev_ros.models import PillarFeatureNet


class FusedPfn:
    """Computes the result of a PillarFeatureNet in eval mode, with its current weights.

    The net is linear before its maximum, and the decorations add the same value for all points
    of a pillar. Its result is therefore relu(max over the points of (A p) + offset(pillar)), with
    A of 4 or 5 columns in place of 9 to 11, and no decorated point is stored.

    Args:
        pfn: pillar feature net in eval mode, on the CPU.
        grid: grid of the pillars.

    Attributes:
        points_inside: number of points of the last cloud that lie on the grid.
    """

    def __init__(self, pfn: PillarFeatureNet, grid: BevGrid) -> None:
        self.points_inside = 0
        self._channels, self._width = pfn.out_channels, padded(pfn.out_channels)
        self._max_points = pfn.max_points or 0
        size = (grid.resolution, grid.resolution, grid.z_range[1] - grid.z_range[0])
        low = (grid.x_range[0], grid.y_range[0], grid.z_range[0])
        self._low, self._size = np.array(low, np.float32), np.array(size, np.float32)
        self._counts = np.zeros(grid.shape, np.int32)
        # First centre and step of the columns and of the rows, and the middle of z_range.
        self._centres = (
            *((axis.centre(0), axis.step) for axis in (grid.x_axis, grid.y_axis)),
            sum(grid.z_range) / 2,
        )
        weights = _folded(pfn)
        self._weights = [
            np.pad(part, [(0, 0)] * (part.ndim - 1) + [(0, self._width - pfn.out_channels)])
            .astype(np.float32)
            .reshape(-1)
            for part in weights
        ]

    def __call__(self, points: np.ndarray) -> tuple[Tensor, Tensor]:
        """Encodes a cloud as pillars.

        Args:
            points: (N, F) float32 that pass the net's `check`.

        Returns:
            Features (P, C) float32 and cells (P, 2) int64 [row, col] of the pillars that hold a
            point, by row, then column.
        """
        points = np.ascontiguousarray(points)
        try:
            cells, ends, order = self._sorted(points)
        except Exception:
            self._counts.fill(0)  # remaining counts would corrupt the pillars of the next cloud
            raise
        self.points_inside = int(ends[-1])
        features = np.empty((len(cells), self._width), np.float32)
        kernels.pillar_features(
            points,
            cells,
            ends,
            order,
            self._max_points,
            *self._centres,
            *self._weights,
            features.reshape(-1),
        )
        return torch.from_numpy(features)[:, : self._channels], torch.from_numpy(cells)

    def _sorted(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sorts points by cell: cells, ends and order, as for the kernels; clears the counts."""
        cell = np.empty(len(points), np.int32)
        order = np.empty(len(points), np.int32)
        count = kernels.count_points(points, self._low, self._size, cell, self._counts)
        cells = np.empty((count, 2), np.int64)
        ends = np.empty(count + 1, np.int64)
        kernels.sort_points(cell, self._counts, cells, ends, order)
        return cells, ends, order


@torch.no_grad()
def _folded(pfn: PillarFeatureNet) -> list[np.ndarray]:
    """Folds the net into the weights of the kernel.

    Returns:
        Weights of a point (F, C), of the centre of its pillar's cell (3, C) and of the mean of its
        pillar (3, C), and a shift (C,).

    The columns of the linear layer are x, y, z, further values, offset to the mean (3), offset
    to the centre (2 or 3). With q for the point from the centre and m for the mean of q,
    x = q + centre and the offset to the mean is q - m.
    """
    norm = pfn.norm
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()  # type: ignore[union-attr]
    shift = norm.bias.double() - norm.running_mean.double() * scale  # type: ignore[union-attr]
    columns = (pfn.linear.weight.double() * scale[:, None]).t().numpy()
    values, axes = pfn.point_values, pfn.centre_axes
    by_point, by_mean = columns[:values].copy(), columns[values : values + 3]
    by_centre = columns[:3].copy()
    if pfn.legacy_offsets:
        by_centre[:axes] = 0  # its x, y (and z) are q already
    by_point[:3] += by_mean
    by_point[:axes] += columns[values + 3 :]
    return [by_point, by_centre, -by_mean, shift.numpy()]
