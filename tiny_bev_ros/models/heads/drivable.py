# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""DrivableHead: probability of road surface for each cell."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.heads.head_registry import (
    DecodeOptions,
    FrameLabels,
    Head,
    register_head,
)
from tiny_bev_ros.models.layers import check_positive_int, conv_block
from tiny_bev_ros.models.observed_ground import observed_cells

# Weight of this loss relative to that of the detection head.
_LOSS_WEIGHT = 3.0
# Weight of cells without ground points; other cells have weight 1.
_UNOBSERVED_WEIGHT = 0.2


class DrivableTargets(NamedTuple):
    """Targets of the drivable area.

    Attributes:
        drivable: (h,w) float32, 1 for road surface.
        observed: (h,w) float32, 1 where the road is known and a ground point is near.
        known: (h,w) float32, 1 in frames whose road is known, 0 in others.
    """

    drivable: Tensor
    observed: Tensor
    known: Tensor


@register_head('drivable')
class DrivableHead(Head):
    """One logit of road surface for each cell.

    Args:
        in_channels: number of channels of the features.
        mid_channels: number of channels of its one block.

    Raises:
        TinyBevError: a number of channels is not a whole number above 0.
    """

    output_type = Tensor

    def __init__(self, in_channels: int = 64, mid_channels: int = 32) -> None:
        super().__init__()
        check_positive_int(in_channels=in_channels, mid_channels=mid_channels)
        self.in_channels = in_channels
        self.block = conv_block(in_channels, mid_channels)
        self.logit = nn.Conv2d(mid_channels, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Computes (B,1,h,w) float32 logits of features (B,C,h,w)."""
        return self.logit(self.block(features)).float()

    @staticmethod
    def targets(labels: FrameLabels, grid: BevGrid) -> DrivableTargets:
        """Computes road surface at the cell centres; all zeros if the road is unknown."""
        rows, cols = grid.shape
        if labels.is_drivable is None:
            return DrivableTargets(*torch.zeros(3, rows, cols))
        x, y = np.meshgrid(
            grid.x_axis.centre(np.arange(cols)), grid.y_axis.centre(np.arange(rows))
        )
        drivable = torch.from_numpy(labels.is_drivable(x, y).astype(np.float32))
        ground = labels.points[labels.ground]
        row = torch.from_numpy(grid.y_axis.index(ground[:, 1]).astype(np.int64))
        col = torch.from_numpy(grid.x_axis.index(ground[:, 0]).astype(np.int64))
        observed = observed_cells(row.clamp(0, rows - 1), col.clamp(0, cols - 1), grid.shape)
        return DrivableTargets(drivable, observed.float(), torch.ones(rows, cols))

    @staticmethod
    def loss(maps: Tensor, targets: DrivableTargets) -> dict[str, Tensor]:
        """Computes binary cross-entropy; unobserved cells weigh less and count as no road.

        Frames whose road is unknown do not count.
        """
        observed = targets.observed
        weight = (observed + _UNOBSERVED_WEIGHT * (1 - observed)) * targets.known
        total = binary_cross_entropy_with_logits(
            maps[:, 0], targets.drivable * observed, weight, reduction='sum'
        )
        return {'cross_entropy': _LOSS_WEIGHT * total / weight.sum().clamp(min=1)}

    @staticmethod
    def select(maps: Tensor) -> Tensor:
        """Returns the (B,h,w) float32 probability of road surface."""
        return maps[:, 0].sigmoid()

    @staticmethod
    def finish(selected: Tensor, grid: BevGrid, options: DecodeOptions) -> Tensor:
        """Returns the (h,w) probability of road surface as it is."""
        return selected
