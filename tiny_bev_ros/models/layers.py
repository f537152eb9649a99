# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Blocks from which the networks are built, and the checks of their arguments."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tiny_bev_ros.errors import TinyBevError


def conv_block(
    in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1
) -> nn.Sequential:
    """Convolution with bias, batch norm and ReLU: (B,C,H,W) to (B,C',ceil(H/stride),...)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def mlp(channels: int) -> nn.Sequential:
    """Feed-forward part of a transformer layer, on each token of (...,C) by itself."""
    return nn.Sequential(
        nn.LayerNorm(channels),
        nn.Linear(channels, 2 * channels),
        nn.GELU(),
        nn.Linear(2 * channels, channels),
    )


def is_exporting() -> bool:
    """True while torch.export or the tracer of ONNX records a network.

    Sizes are symbols then, which no condition may depend on.
    """
    is_recorded = getattr(torch.compiler, 'is_exporting', torch.compiler.is_compiling)
    return bool(is_recorded() or torch.jit.is_tracing())


def check_positive_int(**arguments: Any) -> None:
    """Checks arguments, given by their names.

    Raises:
        TinyBevError: one of them is not a whole number above 0; names the first.
    """
    for name, value in arguments.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise TinyBevError(f'{name} is {value!r}; expected a whole number above 0')


def check_divisible_by_heads(name: str, channels: int, heads: int) -> None:
    """Checks that every attention head gets equally many channels.

    Args:
        name: name of the argument, for the message.
        channels: its value.
        heads: number of attention heads.

    Raises:
        TinyBevError: ``channels`` is not a multiple of ``heads``.
    """
    if channels % heads:
        raise TinyBevError(f'{name} is {channels}; expected a multiple of heads, {heads}')
