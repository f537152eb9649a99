# SPDX-License-Identifier: Apache-2.0
"""Pillars, backbone and heads as one network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.heads.detection import DetectionHead
from tiny_bev_ros.models.heads.drivable import DrivableHead
from tiny_bev_ros.models.pfn import PillarFeatureNet
from tiny_bev_ros.models.pillars import decorate, group
from tiny_bev_ros.models.registry import build_backbone

# Of the weights of x, y, z, intensity, offsets to the mean and to the middle of the cell: one over
# what these decorations commonly are, in metres, and more for heights, which tell a kerb.
# Training frames have no intensity: nothing teaches its weights, which stay 0.
_INITIAL_SCALE = (0.04, 0.04, 3.0, 0.0, 8.0, 8.0, 8.0, 8.0, 8.0, 1.0)
# Of the batch norm behind them, so that channels begin with bends at different heights.
_INITIAL_BIAS, _INITIAL_SLOPE = (-1.5, 1.5), (1.0, 3.0)
HEADS: dict[str, type[nn.Module]] = {'detection': DetectionHead, 'drivable': DrivableHead}


def build_heads(names: tuple[str, ...], in_channels: int) -> nn.ModuleDict:
    """Heads by name, with freshly initialised weights.

    Raises:
        TinyBevError: a name is not in HEADS.
    """
    for name in names:
        if name not in HEADS:
            raise TinyBevError(f'head is {name!r}; expected one of {", ".join(HEADS)}')
    return nn.ModuleDict({name: HEADS[name](in_channels=in_channels) for name in names})


class BevDetector(nn.Module):
    """All networks from points to what the heads say, for training.

    Args:
        pfn: the pillar feature net, of one that takes all points.
        backbone: of the registry.
        heads: names of heads, each at most once.
    """

    def __init__(self, pfn: PillarFeatureNet, backbone: Any, heads: tuple[str, ...]) -> None:
        super().__init__()
        self.pfn = pfn
        self.backbone = backbone
        self.heads = build_heads(heads, backbone.feature_info[-1].channels)

    def forward(self, points: list[Tensor], grids: list[BevGrid]) -> dict[str, Any]:
        """What each head says of each cloud (N,4); the grids are of one size."""
        features = features_of(self.pfn, self.backbone, points, grids)
        return {name: head(features) for name, head in self.heads.items()}


def features_of(
    pfn: PillarFeatureNet, backbone: nn.Module, points: list[Tensor], grids: list[BevGrid]
) -> Tensor:
    """(B,C,h,w) of clouds (N,4), on grids of one size: what heads stand on."""
    rows, pillars, places = [], [], []
    total, size = 0, grids[0].shape[0] * grids[0].shape[1]
    for frame, (cloud, grid) in enumerate(zip(points, grids, strict=True)):
        grouped = group(cloud, grid)
        rows.append(decorate(grouped, grid, centre_axes=pfn.centre_axes))
        pillars.append(grouped.pillar + total)
        places.append(grouped.cells[:, 0] * grid.shape[1] + grouped.cells[:, 1] + frame * size)
        total += len(grouped.cells)
    # Not in half precision: what tells a kerb is a hundredth of what tells the place.
    with torch.autocast(rows[0].device.type, enabled=False):
        features = pfn.encode(torch.cat(rows), torch.cat(pillars), total)
    canvas = features.new_zeros(len(points) * size, features.shape[1])
    canvas = canvas.index_copy(0, torch.cat(places), features)
    canvas = canvas.view(len(points), *grids[0].shape, -1).permute(0, 3, 1, 2)
    return backbone(canvas)


def build_detector(
    backbone: str = 'fpn',
    *,
    pfn_channels: int = 32,
    mid_channels: int = 48,
    out_channels: int = 64,
    heads: tuple[str, ...] = ('detection', 'drivable'),
) -> BevDetector:
    """The network that is trained here, with freshly initialised weights.

    Its pillar feature net takes ten channels and does not see the intensity.
    """
    pfn = PillarFeatureNet(in_channels=10, out_channels=pfn_channels)
    with torch.no_grad():
        # What is told by metres of the map would drown what is told by the height of a kerb.
        pfn.linear.weight *= torch.tensor(_INITIAL_SCALE)
        pfn.norm.bias.uniform_(*_INITIAL_BIAS)
        pfn.norm.weight.uniform_(*_INITIAL_SLOPE)
    network = build_backbone(
        backbone,
        in_channels=pfn_channels,
        mid_channels=mid_channels,
        out_channels=out_channels,
    )
    return BevDetector(pfn, network, heads)
