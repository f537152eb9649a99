# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""TinyBEVBackbone: five convolutions from a pseudo-image to BEV features of half its size."""

from __future__ import annotations

from torch import Tensor, nn

from tiny_bev_ros.models.layers import check_positive_int, conv_block
from tiny_bev_ros.models.registry import FeatureInfo, register_backbone


@register_backbone('tiny')
class TinyBEVBackbone(nn.Module):
    """A small convolutional network over a bird's-eye-view pseudo-image, for small GPUs or none.

    ``stem`` (1x1), ``block1``, ``block2`` (3x3), ``down`` (3x3, stride 2) and ``block3``
    (3x3), each with bias, batch norm and ReLU: 300,352 parameters at the defaults.

    Args:
        in_channels: number of channels of the pseudo-image.
        mid_channels: number of channels before the stride.
        out_channels: number of channels of the output.

    Raises:
        TinyBevError: a number of channels is not a whole number above 0.
    """

    def __init__(
        self, in_channels: int = 64, mid_channels: int = 64, out_channels: int = 128
    ) -> None:
        super().__init__()
        check_positive_int(
            in_channels=in_channels, mid_channels=mid_channels, out_channels=out_channels
        )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.feature_info = (FeatureInfo('block3', out_channels, stride=2),)

        self.stem = conv_block(in_channels, mid_channels, kernel=1)
        self.block1 = conv_block(mid_channels, mid_channels)
        self.block2 = conv_block(mid_channels, mid_channels)
        self.down = conv_block(mid_channels, out_channels, stride=2)
        self.block3 = conv_block(out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, ceil(H/2), ceil(W/2))."""
        x = self.stem(x)
        x = self.block1(x)
        x = self.block2(x)
        x = self.down(x)
        return self.block3(x)
