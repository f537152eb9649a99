# SPDX-License-Identifier: Apache-2.0
"""The blocks of which the networks here are made."""

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


def perceptron(channels: int) -> nn.Sequential:
    """Of tokens (...,C), each on its own: what stands behind attention in a transformer."""
    return nn.Sequential(
        nn.LayerNorm(channels),
        nn.Linear(channels, 2 * channels),
        nn.GELU(),
        nn.Linear(2 * channels, channels),
    )
