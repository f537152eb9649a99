# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Networks in the form in which they are exported: tensors in, tensors out, no grid."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.exported_runners import HEAD_MAPS
from tiny_bev_ros.models.heads.detection import DetectionMaps
from tiny_bev_ros.models.heads.detection_head import MAX_LOG_SIZE, DetectionHead
from tiny_bev_ros.models.heads.drivable import DrivableHead
from tiny_bev_ros.models.heads.head_registry import Head, map_heads
from tiny_bev_ros.models.pfn import PillarFeatureNet


class BackboneWithHeads(nn.Module):
    """Backbone and heads as one network, with calibrated scores and metric boxes.

    Args:
        backbone: backbone of the registry.
        heads: heads by name; a second stage among them is left out, as it takes points.

    Attributes:
        outputs: names of the outputs.

    Raises:
        TinyBevError: a head has no exported form.
    """

    def __init__(self, backbone: nn.Module, heads: nn.ModuleDict) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ModuleDict(map_heads(heads))
        self.outputs: tuple[str, ...] = ()
        for name, head in self.heads.items():
            if isinstance(head, DetectionHead):
                self.outputs += HEAD_MAPS['detection']
            elif isinstance(head, DrivableHead):
                self.outputs += HEAD_MAPS['drivable']
            else:
                raise TinyBevError(f'head is {name!r}; expected detection or drivable for export')

    def forward(self, pseudo_image: Tensor) -> tuple[Tensor, ...]:
        """(B,C,H,W) to maps (B,c,h,w) in the order of ``outputs``."""
        features = self.backbone(pseudo_image)
        maps: list[Tensor] = []
        for head in self.heads.values():
            maps += _head_maps(head, head(features))
        return tuple(maps)


def _head_maps(head: Any, maps: Any) -> list[Tensor]:
    if isinstance(head, DetectionHead):
        return _detection_maps(head, maps)
    assert isinstance(head, Head)
    return [maps.sigmoid()]


def _detection_maps(head: DetectionHead, maps: DetectionMaps) -> list[Tensor]:
    """Scores (B,K,h,w) and boxes (B,9,h,w), without the functions that jump, such as peaks.

    Rounding would flip peaks and headings in cells without an object.
    """
    scores = head.calibration.of_maps(maps.heatmap)
    size = maps.log_size.clamp(-MAX_LOG_SIZE, MAX_LOG_SIZE).exp()
    return [scores, torch.cat([maps.offset, maps.z, size, maps.axis, maps.heading_sign], dim=1)]


class PaddedPfn(nn.Module):
    """Pillar feature net on pillars that are padded to equal numbers of points.

    Args:
        pfn: pillar feature net that takes all points, in eval mode.
        z_range: lower and upper end of the pillars, in metres.

    Raises:
        TinyBevError: the net limits the points of a pillar.
    """

    def __init__(self, pfn: PillarFeatureNet, z_range: tuple[float, float]) -> None:
        super().__init__()
        if pfn.max_points is not None or pfn.legacy_offsets:
            raise TinyBevError(
                f'PFN has max_points {pfn.max_points} and legacy_offsets {pfn.legacy_offsets}; '
                'expected None and False for export, as from `train`'
            )
        self.pfn = pfn
        self.z_middle = (z_range[0] + z_range[1]) / 2

    def forward(self, points: Tensor, counts: Tensor, centres: Tensor) -> Tensor:
        """Computes the features of pillars.

        Args:
            points: (P,M,F) float32 x, y, z, intensity and, with F of 5, time.
            counts: (P,) int32 number of points of each pillar; rows behind them are ignored.
            centres: (P,2) float32 x and y of the centre of the pillar's cell, in metres.

        Returns:
            (P,C) float32, 0 for pillars without points.
        """
        index = torch.arange(points.shape[1], device=points.device, dtype=counts.dtype)
        is_point = (index < counts[:, None])[:, :, None]
        z = torch.full_like(centres[:, :1], self.z_middle)
        to_centre = points[:, :, :3] - torch.cat([centres, z], dim=1)[:, None]
        total = torch.where(is_point, to_centre, 0.0).sum(1, keepdim=True)
        to_mean = to_centre - total / counts[:, None, None].to(points.dtype)
        rows = [points, to_mean, to_centre[:, :, : self.pfn.centre_axes]]
        features = self.pfn.linear(torch.cat(rows, dim=2)).transpose(1, 2)
        features = torch.relu(self.pfn.norm(features))
        return torch.where(is_point.transpose(1, 2), features, 0.0).amax(2)
