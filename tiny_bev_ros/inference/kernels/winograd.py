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
# Values of each of the 36 matrix products of a block, which should stay in the cache.
BLOCK = 8192
A, B = 0.75, 1.5
_A1, _A2, _A3 = np.float32(A), np.float32(A**2), np.float32(A**3)
_B1, _B2, _B3 = np.float32(B), np.float32(B**2), np.float32(B**3)
_PRODUCT, _SUM = np.float32(A**2 * B**2), np.float32(A**2 + B**2)


def tiles_at_once(channels: int) -> int:
    """Returns the number of tiles of a block.

    Args:
        channels: number of channels of input or output, whichever is larger.
    """
    # No power of two: the 36 planes would compete for the same cache sets.
    return max(BLOCK // channels, 16) - 8


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
def squares(d0: Any, d1: Any, d2: Any, d3: Any, d4: Any, d5: Any) -> Any:
    """Sums the squares of six inputs in a line."""
    return d0 * d0 + d1 * d1 + d2 * d2 + d3 * d3 + d4 * d4 + d5 * d5


@jit
def is_hot(energy: Any, limit: float, lanes: np.ndarray) -> bool:
    """Returns True if the sum over a vector is above a limit, or NaN; see `hot_tiles`."""
    store(lanes, 0, energy)
    return not lanes.sum() <= limit


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
def transform_input_rows(half: np.ndarray, n: int, out: np.ndarray, first: int, step: int) -> None:
    """Evaluates the rows of a tile, whose columns are evaluated, at six points each.

    Args:
        half: flat (6, 6, n) inputs, evaluated along the columns.
        n: number of channels.
        out: flat planes; receives the values.
        first: position of the tile in the first of the 36 planes.
        step: distance from one of the planes to the next.
    """
    for i in range(6):
        to = i * 6 * step + first
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
def transform_output_columns(product: np.ndarray, at: int, step: int, half: np.ndarray) -> None:
    """Computes four outputs in each column of a tile, for 16 channels.

    Args:
        product: flat planes of products.
        at: position of the tile and of its first channel in the first of the 36 planes.
        step: distance from one of the planes to the next.
        half: flat (4, 6, 16); receives the values.
    """
    for j in range(6):
        v0, v1, v2, v3 = transform_output_line(
            load(product, at + j * step),
            load(product, at + (j + 6) * step),
            load(product, at + (j + 12) * step),
            load(product, at + (j + 18) * step),
            load(product, at + (j + 24) * step),
            load(product, at + (j + 30) * step),
        )
        store(half, j * WIDTH, v0)
        store(half, (j + 6) * WIDTH, v1)
        store(half, (j + 12) * WIDTH, v2)
        store(half, (j + 18) * WIDTH, v3)


@jit
def transform_output_row(half: np.ndarray, i: int, full: np.ndarray) -> None:
    """Computes the four outputs of row ``i`` from the result of `transform_output_columns`.

    Args:
        half: flat (4, 6, 16) values.
        i: row of the tile.
        full: flat (4, 16); receives the outputs.
    """
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
    limit: float,
    hot: np.ndarray,
) -> bool:
    """Evaluates the inputs of tiles at 6x6 points.

    Args:
        rows: flat rows of the input sites.
        channels: length of a row.
        index_map: row of each input site, with a border of one cell.
        tiles: (tiles, 4) list of tiles, from `tile_masks.list_tiles`.
        begin: first tile.
        end: end of the tiles.
        out: flat (36, >= end - begin, channels); receives the values.
        step: distance in ``out`` from one of the 36 planes to the next.
        limit: largest sum of squared inputs of a tile that is not hot.
        hot: (tiles,) bool; receives True for tiles above the limit, or with NaN.

    Returns:
        True if a tile is hot.
    """
    n, any_hot = channels, False
    half, lanes = np.empty(36 * n, np.float32), np.empty(WIDTH, np.float32)
    for tile in range(begin, end):
        y, x = tiles[tile, 0], tiles[tile, 1]
        energy = splat(np.float32(0))
        for j in range(6):
            r0, r1 = index_map[y, x + j] * n, index_map[y + 1, x + j] * n
            r2, r3 = index_map[y + 2, x + j] * n, index_map[y + 3, x + j] * n
            r4, r5 = index_map[y + 4, x + j] * n, index_map[y + 5, x + j] * n
            for c in range(0, n, WIDTH):
                d0, d1, d2 = load(rows, r0 + c), load(rows, r1 + c), load(rows, r2 + c)
                d3, d4, d5 = load(rows, r3 + c), load(rows, r4 + c), load(rows, r5 + c)
                energy = energy + squares(d0, d1, d2, d3, d4, d5)
                v0, v1, v2, v3, v4, v5 = transform_input_line(d0, d1, d2, d3, d4, d5)
                at = j * n + c
                store(half, at, v0)
                store(half, at + 6 * n, v1)
                store(half, at + 12 * n, v2)
                store(half, at + 18 * n, v3)
                store(half, at + 24 * n, v4)
                store(half, at + 30 * n, v5)
        hot[tile] = is_hot(energy, limit, lanes)
        any_hot |= hot[tile]
        transform_input_rows(half, n, out, (tile - begin) * n, step)
    return any_hot


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
        tiles: (tiles, 4) list of tiles, from `tile_masks.list_tiles`.
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
            transform_output_columns(product, source, step, half)
            site = tiles[tile, 3]
            for i in range(TILE):
                line = mask >> i * TILE & 15
                if line == 0:
                    continue
                transform_output_row(half, i, full)
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
