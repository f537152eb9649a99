# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Winograd's F(4x4, 3x3) on whole maps: tiles of 4x4 outputs, numbered row by row."""

from __future__ import annotations

from typing import Any

import numpy as np

from tiny_bev_ros.inference.kernels.simd import jit, load, maximum, splat, store
from tiny_bev_ros.inference.kernels.winograd import (
    TILE,
    is_hot,
    squares,
    transform_input_line,
    transform_input_rows,
    transform_output_columns,
    transform_output_row,
)
from tiny_bev_ros.inference.sparse.row_padding import WIDTH


@jit
def transform_map(
    source: np.ndarray,
    height: int,
    width: int,
    channels: int,
    begin: int,
    end: int,
    out: np.ndarray,
    step: int,
    limit: float,
    hot: np.ndarray,
) -> bool:
    """Evaluates the inputs of tiles at 6x6 points.

    Args:
        source: flat (height, width, channels) float32 map.
        height: number of rows of the map.
        width: number of columns of the map.
        channels: number of channels, a multiple of 16.
        begin: first tile.
        end: end of the tiles.
        out: flat (36, >= end - begin, channels) float32; receives the values.
        step: distance in ``out`` from one of the 36 planes to the next.
        limit: largest sum of squared inputs of a tile that is not hot.
        hot: (tiles,) bool; receives True for tiles above the limit, or with NaN.

    Returns:
        True if a tile is hot.
    """
    n, across, any_hot = channels, (width + TILE - 1) // TILE, False
    lanes = np.empty(WIDTH, np.float32)
    half, bordered = np.empty(36 * n, np.float32), np.empty(36 * n, np.float32)
    for tile in range(begin, end):
        y, x = tile // across * TILE - 1, tile % across * TILE - 1
        if y >= 0 and x >= 0 and y + 6 <= height and x + 6 <= width:
            energy = _evaluate(source, (y * width + x) * n, width * n, n, half)
        else:
            bordered[:] = 0
            for i in range(max(0, -y), min(6, height - y)):
                for j in range(max(0, -x), min(6, width - x)):
                    at = ((y + i) * width + x + j) * n
                    for c in range(0, n, WIDTH):
                        store(bordered, (6 * i + j) * n + c, load(source, at + c))
            energy = _evaluate(bordered, 0, 6 * n, n, half)
        hot[tile] = is_hot(energy, limit, lanes)
        any_hot |= hot[tile]
        transform_input_rows(half, n, out, (tile - begin) * n, step)
    return any_hot


@jit
def _evaluate(source: np.ndarray, begin: int, line: int, n: int, half: np.ndarray) -> Any:
    """Evaluates the columns of 6x6 inputs, whose rows are ``line`` values apart.

    Returns:
        Vector whose sum is that of the squared inputs.
    """
    energy = splat(np.float32(0))
    for at in range(0, 6 * n, WIDTH):
        first, fourth = begin + at, begin + 3 * line + at
        d0, d1, d2 = (
            load(source, first),
            load(source, first + line),
            load(source, first + 2 * line),
        )
        d3, d4, d5 = (
            load(source, fourth),
            load(source, fourth + line),
            load(source, fourth + 2 * line),
        )
        energy = energy + squares(d0, d1, d2, d3, d4, d5)
        v0, v1, v2, v3, v4, v5 = transform_input_line(d0, d1, d2, d3, d4, d5)
        store(half, at, v0)
        store(half, at + 6 * n, v1)
        store(half, at + 12 * n, v2)
        store(half, at + 18 * n, v3)
        store(half, at + 24 * n, v4)
        store(half, at + 30 * n, v5)
    return energy


@jit
def write_map(
    product: np.ndarray,
    step: int,
    channels: int,
    begin: int,
    end: int,
    bias: np.ndarray,
    relu: bool,
    height: int,
    width: int,
    out: np.ndarray,
) -> None:
    """Writes the outputs of tiles: bias added, ReLU applied.

    Args:
        product: flat (36, >= end - begin, channels) float32 products of inputs and weights.
        step: distance in ``product`` from one of the 36 planes to the next.
        channels: number of channels, a multiple of 16.
        begin: first tile.
        end: end of the tiles.
        bias: (channels,) float32.
        relu: True to apply ReLU.
        height: number of rows of the map.
        width: number of columns of the map.
        out: flat (height, width, channels) float32; receives the values.
    """
    n, across = channels, (width + TILE - 1) // TILE
    half = np.empty(24 * WIDTH, np.float32)
    full = np.empty(4 * WIDTH, np.float32)
    for tile in range(begin, end):
        y, x = tile // across * TILE, tile % across * TILE
        rows, cols = min(TILE, height - y), min(TILE, width - x)
        for c in range(0, n, WIDTH):
            source = (tile - begin) * n + c
            transform_output_columns(product, source, step, half)
            for i in range(rows):
                transform_output_row(half, i, full)
                for j in range(cols):
                    value = load(full, j * WIDTH) + load(bias, c)
                    if relu:
                        value = maximum(value, splat(0))
                    store(out, ((y + i) * width + x + j) * n + c, value)
