# SPDX-License-Identifier: Apache-2.0
"""Where one may drive: one logit for each cell."""

from __future__ import annotations

from torch import Tensor, nn

from tiny_bev_ros.models.checks import check_positive_int
from tiny_bev_ros.models.layers import conv_block


class DrivableHead(nn.Module):
    """A logit for each cell that it is road surface.

    Args:
        in_channels: of the features.
        mid_channels: of its one block.

    Raises:
        TinyBevError: a number of channels is not a whole number above 0.
    """

    def __init__(self, in_channels: int = 64, mid_channels: int = 32) -> None:
        super().__init__()
        check_positive_int('in_channels', in_channels)
        check_positive_int('mid_channels', mid_channels)
        self.block = conv_block(in_channels, mid_channels)
        self.logit = nn.Conv2d(mid_channels, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B,C,h,w) to (B,1,h,w) float32 logits."""
        return self.logit(self.block(features)).float()
