# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""DeepBEVBackbone: TinyBEVBackbone with more blocks, for a larger receptive field."""

from __future__ import annotations

from torch import Tensor, nn

from tiny_bev_ros.models.layers import check_positive_int, conv_block
from tiny_bev_ros.models.registry import FeatureInfo, register_backbone


@register_backbone('deep')
class DeepBEVBackbone(nn.Module):
    """A chain of convolutions with most of its blocks behind the stride.

    ``stem`` (1x1), ``block`` (3x3), ``down`` (3x3, stride 2) and ``blocks`` (3x3 each). With six
    blocks the receptive field is 31 input cells along each axis.

    Args:
        in_channels: number of channels of the pseudo-image.
        mid_channels: number of channels before the stride.
        out_channels: number of channels after the stride.
        depth: number of blocks after the stride.

    Raises:
        TinyBevError: an argument is not a whole number above 0.
    """

    def __init__(
        self,
        in_channels: int = 64,
        mid_channels: int = 64,
        out_channels: int = 128,
        depth: int = 6,
    ) -> None:
        super().__init__()
        check_positive_int(
            in_channels=in_channels,
            mid_channels=mid_channels,
            out_channels=out_channels,
            depth=depth,
        )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.feature_info = (FeatureInfo('blocks', out_channels, stride=2),)

        self.stem = conv_block(in_channels, mid_channels, kernel=1)
        self.block = conv_block(mid_channels, mid_channels)
        self.down = conv_block(mid_channels, out_channels, stride=2)
        self.blocks = nn.Sequential(
            *(conv_block(out_channels, out_channels) for _ in range(depth))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, ceil(H/2), ceil(W/2))."""
        return self.blocks(self.down(self.block(self.stem(x))))
