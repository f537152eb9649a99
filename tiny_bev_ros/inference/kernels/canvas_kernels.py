# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Conversions between a dense map and rows of active sites, and the index map of these rows."""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.inference.kernels.simd import jit


@jit
def active_cells(
    canvas: np.ndarray, width: int, begin: int, end: int, cells: np.ndarray, features: np.ndarray
) -> int:
    """Lists the cells with a non-zero channel, and their values.

    Args:
        canvas: (C, H*W) float32 pseudo-image.
        width: W, number of columns.
        begin: first cell of the range.
        end: end of the range.
        cells: (H*W, 2) int32; receives [row, col] of each cell, from ``begin`` on.
        features: (H*W, C) float32; receives the values, from ``begin`` on.

    Returns:
        Number of cells listed.
    """
    # All channels of a block of cells stay in the cache between the two passes.
    block, at = 512, begin
    bits = canvas.view(np.uint32)
    # Union of the bits of all channels of each cell.
    union = np.empty(block, np.uint32)
    for first in range(begin, end, block):
        last = min(first + block, end)
        union[:] = 0
        for channel in range(canvas.shape[0]):
            line = bits[channel, first:last]
            for i in range(last - first):
                union[i] |= line[i]
        for cell in range(first, last):
            if union[cell - first] & np.uint32(0x7FFFFFFF):  # -0.0 is 0.
                cells[at, 0] = cell // width
                cells[at, 1] = cell % width
                for channel in range(canvas.shape[0]):
                    features[at, channel] = canvas[channel, cell]
                at += 1
    return at - begin


@jit
def update_map(
    rows: np.ndarray,
    index_map: np.ndarray,
    written: np.ndarray,
    row: np.ndarray,
    col: np.ndarray,
    post_relu: np.ndarray,
    out: np.ndarray,
    begin: int,
    end: int,
) -> None:
    """Writes sites into a map, and the background at the sites of the previous call.

    Args:
        rows: (N, >= C) float32 values of the sites, the background included.
        index_map: (h + 2, w + 2) row of each site.
        written: (h, w) bool, True where the map differs from the background; is updated.
        row: (h,) row of the background's table for each row of the map.
        col: (w,) column of the background's table for each column of the map.
        post_relu: (.., .., >= C) float32, table of the background after ReLU.
        out: (C, h, w) float32 map; is updated.
        begin: first row of the map to write.
        end: end of the rows.
    """
    channels, width = out.shape[0], out.shape[2]
    new, ids = np.empty(width, np.int32), np.empty(width, np.int32)
    old = np.empty(width, np.int32)
    for y in range(begin, end):
        news = olds = 0
        for x in range(width):
            number = index_map[y + 1, x + 1]
            if number != 0:
                new[news] = x
                ids[news] = number
                news += 1
            elif written[y, x]:
                old[olds] = x
                olds += 1
            written[y, x] = number != 0
        # One channel at a time: its cache lines are written as a whole.
        for channel in range(channels):
            for i in range(olds):
                out[channel, y, old[i]] = post_relu[row[y], col[old[i]], channel]
            for i in range(news):
                out[channel, y, new[i]] = rows[ids[i], channel]


@jit
def update_rows(
    rows: np.ndarray,
    index_map: np.ndarray,
    written: np.ndarray,
    row: np.ndarray,
    col: np.ndarray,
    post_relu: np.ndarray,
    out: np.ndarray,
    begin: int,
    end: int,
) -> None:
    """Does the work of `update_map` for a map whose channels come last.

    Args:
        rows: as for `update_map`, in the dtype of the map.
        index_map: as for `update_map`.
        written: as for `update_map`.
        row: as for `update_map`.
        col: as for `update_map`.
        post_relu: as for `update_map`, in the dtype of the map.
        out: (h, w, C) map; is updated.
        begin: first row of the map to write.
        end: end of the rows.
    """
    channels = out.shape[2]
    for y in range(begin, end):
        for x in range(out.shape[1]):
            number = index_map[y + 1, x + 1]
            if number != 0:
                for channel in range(channels):
                    out[y, x, channel] = rows[number, channel]
            elif written[y, x]:
                for channel in range(channels):
                    out[y, x, channel] = post_relu[row[y], col[x], channel]
            written[y, x] = number != 0


@jit
def fill_index_map(cells: np.ndarray, count: int, index_map: np.ndarray) -> None:
    """Writes the row of each active site into the index map, which must be all 0."""
    for i in range(1, count + 1):
        index_map[cells[i, 0] + 1, cells[i, 1] + 1] = i


@jit
def clear_index_map(cells: np.ndarray, count: int, index_map: np.ndarray) -> None:
    """Resets the index map to 0 at the active sites."""
    for i in range(1, count + 1):
        index_map[cells[i, 0] + 1, cells[i, 1] + 1] = 0
