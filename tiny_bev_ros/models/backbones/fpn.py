# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""FpnBEVBackbone: features of three strides merged at the finest, for objects of many cells."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import interpolate

from tiny_bev_ros.models.layers import check_positive_int, conv_block
from tiny_bev_ros.models.registry import FeatureInfo, register_backbone


@register_backbone('fpn')
class FpnBEVBackbone(nn.Module):
    """A feature pyramid of strides 2, 4 and 8: coarse features are added to the finer ones.

    Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017. The receptive field is
    75 input cells along each axis.

    Args:
        in_channels: number of channels of the pseudo-image.
        mid_channels: number of channels at stride 2; stride 4 has 4/3 and stride 8 twice as many.
        out_channels: number of channels of the output.

    Attributes:
        chain: leading chain of convolutions, which may run sparsely.

    Raises:
        TinyBevError: a number of channels is not a whole number above 0.
    """

    def __init__(
        self, in_channels: int = 64, mid_channels: int = 48, out_channels: int = 64
    ) -> None:
        super().__init__()
        check_positive_int(
            in_channels=in_channels, mid_channels=mid_channels, out_channels=out_channels
        )
        self.in_channels = in_channels
        self.out_channels = out_channels
        wide, wider = -(-mid_channels * 4 // 3), 2 * mid_channels
        self.feature_info = (
            FeatureInfo('chain', mid_channels, stride=2),
            FeatureInfo('level4', wide, stride=4),
            FeatureInfo('level8', wider, stride=8),
            FeatureInfo('merge', out_channels, stride=2),
        )
        self.chain = _level(in_channels, mid_channels, depth=1)
        self.level4 = _level(mid_channels, wide, depth=2)
        self.level8 = _level(wide, wider, depth=2)
        self.lateral2 = nn.Conv2d(mid_channels, out_channels, 1)
        self.lateral4 = nn.Conv2d(wide, out_channels, 1)
        self.lateral8 = nn.Conv2d(wider, out_channels, 1)
        self.merge = conv_block(out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, ceil(H/2), ceil(W/2))."""
        return self.after_chain(self.chain(x))

    def after_chain(self, fine: Tensor) -> Tensor:
        """Output of `chain` (B, mid_channels, h, w) to (B, out_channels, h, w)."""
        middle = self.level4(fine)
        merged = self.lateral8(self.level8(middle))
        for finer in (self.lateral4(middle), self.lateral2(fine)):
            # In place, as a new map costs more than the sum.
            merged = finer.add_(interpolate(merged, size=finer.shape[-2:], mode='nearest'))
        return self.merge(merged)


def _level(in_channels: int, out_channels: int, depth: int) -> nn.Sequential:
    blocks = (conv_block(out_channels, out_channels) for _ in range(depth))
    return nn.Sequential(conv_block(in_channels, out_channels, stride=2), *blocks)
