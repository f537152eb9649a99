# SPDX-License-Identifier: Apache-2.0
"""The block of which all networks here are made."""

from __future__ import annotations

from torch import nn


def conv_block(
    in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1
) -> nn.Sequential:
    """Convolution with bias, batch norm and ReLU; (H,W) becomes (ceil(H/stride), ...)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
