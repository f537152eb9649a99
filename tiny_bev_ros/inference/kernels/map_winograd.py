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
    transform_output_line,
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
        for i in range(6):
            to = i * 6 * step + (tile - begin) * n
            for c in range(0, n, WIDTH):
                at = i * 6 * n + c
                v0, v1, v2, v3, v4, v5 = transform_input_line(
                    load(half, at),
                    load(half, at + n),
                    load(half, at + 2 * n),
                    load(half, at + 3 * n),
                    load(half, at + 4 * n),
                    load(half, at + 5 * n),
                )
                store(out, to + c, v0)
                store(out, to + step + c, v1)
                store(out, to + 2 * step + c, v2)
                store(out, to + 3 * step + c, v3)
                store(out, to + 4 * step + c, v4)
                store(out, to + 5 * step + c, v5)
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
            for j in range(6):
                v0, v1, v2, v3 = transform_output_line(
                    load(product, source + j * step),
                    load(product, source + (j + 6) * step),
                    load(product, source + (j + 12) * step),
                    load(product, source + (j + 18) * step),
                    load(product, source + (j + 24) * step),
                    load(product, source + (j + 30) * step),
                )
                store(half, j * WIDTH, v0)
                store(half, (j + 6) * WIDTH, v1)
                store(half, (j + 12) * WIDTH, v2)
                store(half, (j + 18) * WIDTH, v3)
            for i in range(rows):
                at = i * 6 * WIDTH
                v0, v1, v2, v3 = transform_output_line(
                    load(half, at),
                    load(half, at + WIDTH),
                    load(half, at + 2 * WIDTH),
                    load(half, at + 3 * WIDTH),
                    load(half, at + 4 * WIDTH),
                    load(half, at + 5 * WIDTH),
                )
                store(full, 0, v0)
                store(full, WIDTH, v1)
                store(full, 2 * WIDTH, v2)
                store(full, 3 * WIDTH, v3)
                for j in range(cols):
                    value = load(full, j * WIDTH) + load(bias, c)
                    if relu:
                        value = maximum(value, splat(0))
                    store(out, ((y + i) * width + x + j) * n + c, value)
