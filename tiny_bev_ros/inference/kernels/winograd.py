# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Winograd's F(4x4, 3x3): 3x3 convolution of stride 1 on tiles of 4x4 outputs.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016: 36 products
instead of 144. The polynomials are evaluated at 0, A, -A, B, -B and infinity. The usual A = 1
and B = 2 have four times the rounding error of the values here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tiny_bev_ros.inference.kernels.epilogue import apply_epilogue
from tiny_bev_ros.inference.kernels.simd import jit, load, splat, store
from tiny_bev_ros.inference.sparse.row_padding import WIDTH

TILE = 4
A, B = 0.75, 1.5
_A1, _A2, _A3 = np.float32(A), np.float32(A**2), np.float32(A**3)
_B1, _B2, _B3 = np.float32(B), np.float32(B**2), np.float32(B**3)
_PRODUCT, _SUM = np.float32(A**2 * B**2), np.float32(A**2 + B**2)


def transform_weight(weight: np.ndarray) -> np.ndarray:
    """Transforms a weight (C_out, C_in, 3, 3) to (36, C_in, C_out) float64."""
    a, b = 2 * A**2 * (A**2 - B**2), 2 * B**2 * (B**2 - A**2)
    points = np.array(
        [
            [1 / (A**2 * B**2), 0, 0],
            [1 / a, A / a, A**2 / a],
            [1 / a, -A / a, A**2 / a],
            [1 / b, B / b, B**2 / b],
            [1 / b, -B / b, B**2 / b],
            [0, 0, 1],
        ]
    )
    wide = np.einsum('iy,ocyx,jx->ijco', points, weight.astype(np.float64), points)
    # einsum returns other strides, with which products take twice as long.
    return np.ascontiguousarray(wide).reshape(36, weight.shape[1], weight.shape[0])


@jit
def transform_input_line(d0: Any, d1: Any, d2: Any, d3: Any, d4: Any, d5: Any) -> Any:
    """Evaluates six inputs in a line at the six points."""
    product, total = splat(_PRODUCT), splat(_SUM)
    even_a, odd_a = d4 - splat(_B2) * d2, splat(_A1) * (d3 - splat(_B2) * d1)
    even_b, odd_b = d4 - splat(_A2) * d2, splat(_B1) * (d3 - splat(_A2) * d1)
    return (
        product * d0 - total * d2 + d4,
        even_a + odd_a,
        even_a - odd_a,
        even_b + odd_b,
        even_b - odd_b,
        product * d1 - total * d3 + d5,
    )


@jit
def transform_output_line(m0: Any, m1: Any, m2: Any, m3: Any, m4: Any, m5: Any) -> Any:
    """Computes four outputs in a line from the products at the six points."""
    even_a, odd_a, even_b, odd_b = m1 + m2, m1 - m2, m3 + m4, m3 - m4
    return (
        m0 + even_a + even_b,
        splat(_A1) * odd_a + splat(_B1) * odd_b,
        splat(_A2) * even_a + splat(_B2) * even_b,
        splat(_A3) * odd_a + splat(_B3) * odd_b + m5,
    )


@jit
def mark_tiles(cells: np.ndarray, count: int, masks: np.ndarray) -> None:
    """Marks the outputs of each tile that have an active input site in their neighbourhood.

    Args:
        cells: (>= count + 1, 2) int32 [row, col] of the active input sites, from 1 on.
        count: number of active input sites.
        masks: (rows of tiles + 2, columns of tiles + 2) uint16, all 0; receives bit 4 * row + col
            of each output. Its border is outside the map.
    """
    for i in range(1, count + 1):
        for y in range(cells[i, 0] + TILE - 1, cells[i, 0] + TILE + 2):
            for x in range(cells[i, 1] + TILE - 1, cells[i, 1] + TILE + 2):
                bit = np.uint16(1 << (y % TILE * TILE + x % TILE))
                masks[y // TILE, x // TILE] |= bit


@jit
def count_tiles(masks: np.ndarray, height: int, width: int) -> tuple[int, int]:
    """Clears the outputs outside the map; returns the numbers of tiles and sites left."""
    masks[0] = 0
    masks[-1] = 0
    masks[:, 0] = 0
    masks[:, -1] = 0
    tiles = sites = 0
    for i in range(1, masks.shape[0] - 1):
        for j in range(1, masks.shape[1] - 1):
            if masks[i, j]:
                mask = 0
                for y in range(min(TILE, height - (i - 1) * TILE)):
                    for x in range(min(TILE, width - (j - 1) * TILE)):
                        bit = masks[i, j] & (1 << (y * TILE + x))
                        mask |= bit
                        sites += bit != 0
                masks[i, j] = mask
                tiles += mask != 0
    return tiles, sites


@jit
def list_tiles(masks: np.ndarray, tiles: np.ndarray, cells: np.ndarray) -> None:
    """Lists tiles and active output sites, and clears the masks.

    Args:
        masks: masks of the tiles, from `count_tiles`.
        tiles: (tiles, 4) int32; receives first row and column, mask, and first site.
        cells: receives [row, col] of each site, from 1 on.
    """
    tile, site = 0, 1
    for i in range(1, masks.shape[0] - 1):
        for j in range(1, masks.shape[1] - 1):
            if masks[i, j]:
                tiles[tile, 0] = (i - 1) * TILE
                tiles[tile, 1] = (j - 1) * TILE
                tiles[tile, 2] = masks[i, j]
                tiles[tile, 3] = site
                tile += 1
                for bit in range(TILE * TILE):
                    if masks[i, j] & (1 << bit):
                        cells[site, 0] = (i - 1) * TILE + bit // TILE
                        cells[site, 1] = (j - 1) * TILE + bit % TILE
                        site += 1
                masks[i, j] = 0


@jit
def transform_input(
    rows: np.ndarray,
    channels: int,
    index_map: np.ndarray,
    tiles: np.ndarray,
    begin: int,
    end: int,
    out: np.ndarray,
    step: int,
) -> None:
    """Evaluates the inputs of tiles at 6x6 points.

    Args:
        rows: flat rows of the input sites.
        channels: length of a row.
        index_map: row of each input site, with a border of one cell.
        tiles: (tiles, 4) list of tiles, from `list_tiles`.
        begin: first tile.
        end: end of the tiles.
        out: flat (36, >= end - begin, channels); receives the values.
        step: distance in ``out`` from one of the 36 planes to the next.
    """
    n = channels
    half = np.empty(36 * n, np.float32)
    for tile in range(begin, end):
        y, x = tiles[tile, 0], tiles[tile, 1]
        for j in range(6):
            r0, r1 = index_map[y, x + j] * n, index_map[y + 1, x + j] * n
            r2, r3 = index_map[y + 2, x + j] * n, index_map[y + 3, x + j] * n
            r4, r5 = index_map[y + 4, x + j] * n, index_map[y + 5, x + j] * n
            for c in range(0, n, WIDTH):
                v0, v1, v2, v3, v4, v5 = transform_input_line(
                    load(rows, r0 + c),
                    load(rows, r1 + c),
                    load(rows, r2 + c),
                    load(rows, r3 + c),
                    load(rows, r4 + c),
                    load(rows, r5 + c),
                )
                at = j * n + c
                store(half, at, v0)
                store(half, at + 6 * n, v1)
                store(half, at + 12 * n, v2)
                store(half, at + 18 * n, v3)
                store(half, at + 24 * n, v4)
                store(half, at + 30 * n, v5)
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


@jit
def transform_output(
    product: np.ndarray,
    step: int,
    channels: int,
    tiles: np.ndarray,
    begin: int,
    end: int,
    row: np.ndarray,
    col: np.ndarray,
    pre_relu: np.ndarray,
    post_relu: np.ndarray,
    relu: bool,
    delta: bool,
    out: np.ndarray,
) -> None:
    """Writes the rows of the active outputs of tiles: background added, ReLU applied.

    Args:
        product: flat (36, >= end - begin, channels) products of inputs and weights.
        step: distance in ``product`` from one of the 36 planes to the next.
        channels: length of a row.
        tiles: (tiles, 4) list of tiles, from `list_tiles`.
        begin: first tile.
        end: end of the tiles.
        row: (H,) row of the background's tables for each row of the output.
        col: (W,) column of the background's tables for each column of the output.
        pre_relu: (h, w, channels) table of the background before ReLU.
        post_relu: (h, w, channels) table of the background after ReLU.
        relu: True to apply ReLU.
        delta: True to subtract the background after ReLU.
        out: flat; receives the rows of the output sites.
    """
    n = channels
    width, flat_pre, flat_post = pre_relu.shape[1], pre_relu.reshape(-1), post_relu.reshape(-1)
    half = np.empty(24 * WIDTH, np.float32)
    full = np.empty(4 * WIDTH, np.float32)
    for tile in range(begin, end):
        y, x, mask = tiles[tile, 0], tiles[tile, 1], tiles[tile, 2]
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
            site = tiles[tile, 3]
            for i in range(TILE):
                line = mask >> i * TILE & 15
                if line == 0:
                    continue
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
                for j in range(TILE):
                    if line >> j & 1:
                        background = (row[y + i] * width + col[x + j]) * n + c
                        value = apply_epilogue(
                            load(full, j * WIDTH),
                            load(flat_pre, background),
                            load(flat_post, background),
                            relu,
                            delta,
                        )
                        store(out, site * n + c, value)
                        site += 1
