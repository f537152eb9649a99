# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Direct convolution of hot tiles, in which Winograd's method would lose the small values.

Winograd's method mixes all 6x6 inputs of a tile, so that each output gets rounding errors of the
largest one, and NaN of any. Tiles whose inputs are far above what is typical of the map are
therefore computed a second time, output by output.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tiny_bev_ros.inference.kernels.epilogue import apply_epilogue
from tiny_bev_ros.inference.kernels.simd import jit, load, maximum, splat, store
from tiny_bev_ros.inference.kernels.winograd import TILE
from tiny_bev_ros.inference.sparse.row_padding import WIDTH

# Norm of a tile's inputs over the median norm of a cell, above which a tile is hot. With it,
# outputs beside a large input have an error of 1e-5 (float32) or 0.1 (bfloat16) of typical values.
_HOT = {torch.float32: 128.0, torch.bfloat16: 32.0}
# Cells from which the median norm is estimated.
_SAMPLE = 256


def hot_limit(rows: torch.Tensor) -> float:
    """Returns the largest sum of squared inputs of a tile that is not hot.

    Args:
        rows: (N,C) inputs of the cells of a map; all zero where a cell does not count.
    """
    # An odd step, as one of the width of the map would take cells of its border alone.
    sample = rows[:: len(rows) // _SAMPLE | 1].float().numpy()
    with np.errstate(over='ignore', invalid='ignore'):
        energy = np.einsum('ij,ij->i', sample, sample)
    energy = energy[energy > 0]  # drops NaN
    largest = float(np.finfo(np.float32).max)
    return min(_HOT[rows.dtype] ** 2 * float(np.median(energy)), largest) if len(energy) else 0.0


@jit
def compute_sites(
    rows: np.ndarray,
    channels: int,
    index_map: np.ndarray,
    tiles: np.ndarray,
    hot: np.ndarray,
    begin: int,
    end: int,
    weight: np.ndarray,
    out_channels: int,
    row: np.ndarray,
    col: np.ndarray,
    pre_relu: np.ndarray,
    post_relu: np.ndarray,
    relu: bool,
    delta: bool,
    out: np.ndarray,
) -> None:
    """Writes the rows of the active outputs of hot tiles: background added, ReLU applied.

    Args:
        rows: flat rows of the input sites.
        channels: length of a row of the input.
        index_map: row of each input site, with a border of one cell.
        tiles: (tiles, 4) list of tiles, from `tile_masks.list_tiles`.
        hot: (tiles,) bool.
        begin: first tile.
        end: end of the tiles.
        weight: flat (9, channels, out_channels) float32.
        out_channels: length of a row of the output.
        row: (H,) row of the background's tables for each row of the output.
        col: (W,) column of the background's tables for each column of the output.
        pre_relu: (h, w, out_channels) table of the background before ReLU.
        post_relu: (h, w, out_channels) table of the background after ReLU.
        relu: True to apply ReLU.
        delta: True to subtract the background after ReLU.
        out: flat; receives the rows of the output sites.
    """
    n, width = out_channels, pre_relu.shape[1]
    flat_pre, flat_post = pre_relu.reshape(-1), post_relu.reshape(-1)
    near = np.empty(9 * channels, np.float32)
    for tile in range(begin, end):
        if not hot[tile]:
            continue
        site = tiles[tile, 3]
        for bit in range(TILE * TILE):
            if not tiles[tile, 2] & (1 << bit):
                continue
            y, x = tiles[tile, 0] + bit // TILE, tiles[tile, 1] + bit % TILE
            for tap in range(9):
                source = index_map[y + tap // 3, x + tap % 3] * channels
                for c in range(0, channels, WIDTH):
                    store(near, tap * channels + c, load(rows, source + c))
            background = (row[y] * width + col[x]) * n
            for c in range(0, n, WIDTH):
                value = apply_epilogue(
                    _product(near, weight, n, c),
                    load(flat_pre, background + c),
                    load(flat_post, background + c),
                    relu,
                    delta,
                )
                store(out, site * n + c, value)
            site += 1


@jit
def compute_cells(
    source: np.ndarray,
    height: int,
    width: int,
    channels: int,
    hot: np.ndarray,
    begin: int,
    end: int,
    weight: np.ndarray,
    out_channels: int,
    bias: np.ndarray,
    relu: bool,
    out: np.ndarray,
) -> None:
    """Writes all outputs of hot tiles of a dense map: bias added, ReLU applied.

    Args:
        source: flat (height, width, channels) float32 map.
        height: number of rows of the map.
        width: number of columns of the map.
        channels: number of channels of the map, a multiple of 16.
        hot: (tiles,) bool.
        begin: first tile, of those numbered row by row.
        end: end of the tiles.
        weight: flat (9, channels, out_channels) float32.
        out_channels: number of channels of the output, a multiple of 16.
        bias: (out_channels,) float32.
        relu: True to apply ReLU.
        out: flat (height, width, out_channels) float32; receives the values.
    """
    across = (width + TILE - 1) // TILE
    near = np.empty(9 * channels, np.float32)
    for tile in range(begin, end):
        if not hot[tile]:
            continue
        first_y, first_x = tile // across * TILE, tile % across * TILE
        for y in range(first_y, min(first_y + TILE, height)):
            for x in range(first_x, min(first_x + TILE, width)):
                near[:] = 0
                for tap in range(9):
                    i, j = y + tap // 3 - 1, x + tap % 3 - 1
                    if 0 <= i < height and 0 <= j < width:
                        at = (i * width + j) * channels
                        near[tap * channels : (tap + 1) * channels] = source[at : at + channels]
                for c in range(0, out_channels, WIDTH):
                    value = _product(near, weight, out_channels, c) + load(bias, c)
                    if relu:
                        value = maximum(value, splat(np.float32(0)))
                    store(out, (y * width + x) * out_channels + c, value)


@jit
def _product(near: np.ndarray, weight: np.ndarray, out_channels: int, c: int) -> Any:
    """Multiplies inputs by weights for 16 channels of the output, from ``c`` on."""
    value = splat(np.float32(0))
    for k in range(near.shape[0]):
        if near[k] != 0:
            value = value + splat(near[k]) * load(weight, k * out_channels + c)
    return value
