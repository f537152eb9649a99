# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Conversion between feature maps and sequences of tokens, and the tokens' positions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid


def to_tokens(bev: Tensor) -> Tensor:
    """Converts (B, C, H, W) to (B, H*W, C), row by row.

    Raises:
        TinyBevError: the map has another number of dimensions.
    """
    if bev.ndim != 4:
        raise TinyBevError(f'map has shape {tuple(bev.shape)}; expected (B, C, H, W)')
    return bev.flatten(2).transpose(1, 2)


def from_tokens(tokens: Tensor, shape: tuple[int, int]) -> Tensor:
    """Converts (B, H*W, C) back to (B, C, H, W).

    Raises:
        TinyBevError: the tokens have another number of dimensions, or do not fill ``shape``
            (H, W).
    """
    rows, cols = shape
    if tokens.ndim != 3:
        raise TinyBevError(f'tokens have shape {tuple(tokens.shape)}; expected (B, H*W, C)')
    if tokens.shape[1] != rows * cols:
        raise TinyBevError(
            f'tokens are {tokens.shape[1]}; expected {rows * cols} for a map of {rows} x {cols}'
        )
    # Not unflatten, whose sizes become constants in ONNX.
    return tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], rows, cols)


def camera_tokens(features: Sequence[Tensor], cameras: Sequence[object]) -> Tensor:
    """Joins camera features (c,h,w) to (pixels,c), without those of cameras that are None."""
    pairs = zip(features, cameras, strict=True)
    return torch.cat([each.flatten(1).T for each, camera in pairs if camera is not None])


def position_encoding(
    grid: BevGrid, channels: int, wavelengths: tuple[float, float] = (4.0, 400.0)
) -> Tensor:
    """Encodes the position of each cell as sines and cosines of its centre in metres.

    It depends on positions and not on indices, so that maps of different resolution or extent
    agree. The first half of the channels encodes y and the second x, each as sine, cosine, sine,
    ... of ever longer waves, as in DETR (Carion et al., 2020), after Vaswani et al., "Attention Is
    All You Need", 2017.

    Args:
        grid: grid of the tokens' map (``grid.strided(stride)`` for the output of a backbone).
        channels: number of channels of a token; a multiple of 4.
        wavelengths: shortest and longest wave in metres, with geometric steps between. The
            defaults suit LiDAR: cells of up to 2 m sample the shortest wave, and no two positions
            within 200 m of the sensor share the phase of the longest.

    Returns:
        (1, H*W, channels) float32 on the CPU.

    Raises:
        TinyBevError: ``channels`` is not a positive multiple of 4, or the wavelengths are
            not finite, positive and ascending.
    """
    if channels < 4 or channels % 4:
        raise TinyBevError(f'channels is {channels}; expected a positive multiple of 4')
    shortest, longest = wavelengths
    if not 0 < shortest < longest < math.inf:
        raise TinyBevError(
            f'wavelengths are {wavelengths} m; expected two finite numbers, 0 < min < max'
        )
    rows, cols = grid.shape
    # In float64, as a float32 angle of many turns has lost the digits that matter.
    waves = torch.logspace(
        math.log10(shortest), math.log10(longest), channels // 4, dtype=torch.float64
    )
    y = _sinusoids(grid.y_axis.centre(torch.arange(rows, dtype=torch.float64)), waves)
    x = _sinusoids(grid.x_axis.centre(torch.arange(cols, dtype=torch.float64)), waves)
    encoding = torch.cat(
        [y[:, None].expand(rows, cols, -1), x[None, :].expand(rows, cols, -1)], dim=2
    )
    return encoding.flatten(0, 1).unsqueeze(0).float()


def _sinusoids(metres: Tensor, waves: Tensor) -> Tensor:
    """(N,) positions and (K,) wavelengths to (N, 2K): sine, cosine, sine, ..."""
    angle = 2 * math.pi * metres[:, None] / waves
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)
