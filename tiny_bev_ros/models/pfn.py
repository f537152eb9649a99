# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""PillarFeatureNet: the learned part of PointPillars, from points to pillar features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.layers import check_positive_int
from tiny_bev_ros.models.pillars import Pillars, decorate, pillarize

# Values of a point, and axes of the offset to the cell centre, by in_channels.
_LAYOUTS = {9: (4, 2), 10: (4, 3), 11: (5, 3)}


class PillarFeatureNet(nn.Module):
    """Turns the points of each pillar into one feature vector.

    Each point is decorated with its offsets to the mean of its pillar and to the centre of its
    cell, goes through a linear layer, batch norm and ReLU, and each pillar takes the maximum over
    its points (Lang et al., "PointPillars", CVPR 2019).

    Two modes are supported:

    - ``max_points=None``, for networks trained by this package: every point counts, and the result
      does not depend on the order of the points.
    - ``max_points=M``, for published weights (OpenPCDet, mmdetection3d, det3d): only the first M
      points of a pillar count, in the order of the cloud, and a pillar with fewer is
      filled up with rows of zeros, which go through the network and take part in the maximum
      (and, in training, in the statistics of the batch norm). Leaving these rows out would change
      nearly every pillar of such a network.

    Args:
        in_channels: 9 for x, y, z, intensity, offset to mean (3), offset to centre (x, y); 10
            with the z offset to the centre too; 11 with each point's time after the intensity.
        out_channels: number of channels of a pillar's features.
        max_points: points per pillar, None for all.
        legacy_offsets: replace x, y (and z with 10 or 11 channels) by the offset to the centre as
            well, like mmdetection3d's ``legacy=True``, the default of its pillar encoder, with
            which its KITTI networks were trained.

    Raises:
        TinyBevError: an argument is not allowed.
    """

    def __init__(
        self,
        in_channels: int = 10,
        out_channels: int = 64,
        *,
        max_points: int | None = None,
        legacy_offsets: bool = False,
    ) -> None:
        super().__init__()
        if in_channels not in _LAYOUTS:
            raise TinyBevError(f'PFN in_channels is {in_channels!r}; expected 9, 10 or 11')
        check_positive_int(**{'PFN out_channels': out_channels})
        if max_points is not None:
            check_positive_int(**{'PFN max_points': max_points})
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.max_points = max_points
        self.legacy_offsets = legacy_offsets
        self.point_values, self.centre_axes = _LAYOUTS[in_channels]

        self.linear = nn.Linear(in_channels, out_channels, bias=False)
        # Values of all published PointPillars networks, not PyTorch's defaults.
        self.norm = nn.BatchNorm1d(out_channels, eps=1e-3, momentum=0.01)

    def forward(self, points: Tensor, grid: BevGrid) -> tuple[Tensor, Tensor]:
        """Computes the features of every pillar that has a point.

        Args:
            points: (N, 4) float32 [x, y, z, intensity], with 11 channels (N, 5) [x, y, z,
                intensity, time]; finite. Points outside the grid are dropped: a range includes
                its lower and excludes its upper end. Where the grid is far from 0, x and y
                must be relative to its `reference`, and the grid its `local`.
            grid: grid of the pillars.

        Returns:
            Features (P, out_channels) float32 and cells (P, 2) int64 [row, col], sorted by row,
            then column. P is 0 when no point lies on the grid.

        Raises:
            TinyBevError: the points have another shape or dtype, or are not finite.
        """
        self.check(points)
        pillars = pillarize(points, grid, self.max_points)
        return self.features(pillars, grid), pillars.cells

    def features(self, pillars: Pillars, grid: BevGrid) -> Tensor:
        """Computes the features (P, out_channels) float32 of pillars.

        Args:
            pillars: pillars of ``max_points`` points at most.
            grid: grid of the pillars.
        """
        rows = decorate(
            pillars,
            grid,
            centre_axes=self.centre_axes,
            legacy_offsets=self.legacy_offsets,
        )
        pillar, count = pillars.pillar, len(pillars.cells)
        if self.max_points is None:
            return self.encode(rows, pillar, count)
        if self.training:
            padding = self._padding(pillars.counts, self.max_points)
            rows = torch.cat([rows, rows.new_zeros(len(padding), self.in_channels)])
            return self.encode(rows, torch.cat([pillar, padding]), count)
        # All rows of zeros have equal features: one row, and one maximum, are enough.
        features = self.encode(rows, pillar, count)
        empty = torch.relu(self.norm(self.linear(rows.new_zeros(1, self.in_channels))))
        fewer = (pillars.counts < self.max_points).unsqueeze(1)
        return torch.where(fewer, torch.maximum(features, empty), features)

    def encode(self, rows: Tensor, pillar: Tensor, pillars: int) -> Tensor:
        """Runs the network alone, on decorated points.

        Args:
            rows: (N, in_channels) float32 decorated points, with padding if there is any.
            pillar: (N,) int64 index of the pillar of each row, from 0 to ``pillars`` - 1.
            pillars: number of pillars P; each has at least one row.

        Returns:
            (P, out_channels) float32, nowhere negative.
        """
        if pillars == 0:
            return rows.new_zeros(0, self.out_channels)
        features = torch.relu(self.norm(self.linear(rows)))
        # The maximum starts at 0, as nothing is below it after a ReLU.
        return features.new_zeros(pillars, self.out_channels).scatter_reduce(
            0, pillar.unsqueeze(1).expand_as(features), features, 'amax'
        )

    def _padding(self, counts: Tensor, max_points: int) -> Tensor:
        """Returns the index of the pillar of each row of zeros."""
        empty = max_points - counts
        return torch.arange(len(counts), device=counts.device).repeat_interleave(empty)

    def check(self, points: Tensor) -> None:
        """Raises the TinyBevError of `forward` for points that it refuses."""
        if points.ndim != 2 or points.shape[1] != self.point_values:
            raise TinyBevError(
                f'points have shape {tuple(points.shape)}; expected (N, {self.point_values}) '
                f'for a PFN of {self.in_channels} channels'
            )
        if points.dtype != torch.float32:
            raise TinyBevError(f'points are {points.dtype}; expected torch.float32')
        if not points.isfinite().all():
            raise TinyBevError('points hold NaN or Inf; expected finite numbers')
