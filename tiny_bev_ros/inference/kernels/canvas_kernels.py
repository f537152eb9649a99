# SPDX-License-Identifier: Apache-2.0
"""From a dense map to rows, and from rows to a dense map."""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.inference.kernels.simd import jit


@jit
def active_cells(
    canvas: np.ndarray, width: int, begin: int, end: int, cells: np.ndarray, features: np.ndarray
) -> int:
    """Lists the cells in which a channel is not 0, with their values.

    Args:
        canvas: (C, H*W) float32.
        width: W.
        begin: first cell to look at.
        end: the one after the last.
        cells: (H*W, 2) int32, gets the places, from ``begin`` on.
        features: (H*W, C) float32, gets the values, from ``begin`` on.

    Returns:
        How many there are.
    """
    # So many cells that all their channels stay in the cache between the two passes.
    block, at = 4096, begin
    bits = canvas.view(np.uint32)
    seen = np.empty(block, np.uint32)
    for first in range(begin, end, block):
        last = min(first + block, end)
        seen[:] = 0
        for channel in range(canvas.shape[0]):
            line = bits[channel, first:last]
            for i in range(last - first):
                seen[i] |= line[i]
        found = at
        for cell in range(first, last):
            if seen[cell - first] & np.uint32(0x7FFFFFFF):  # -0.0 is 0
                cells[at, 0] = cell // width
                cells[at, 1] = cell % width
                at += 1
        for channel in range(canvas.shape[0]):
            line = canvas[channel]
            for i in range(found, at):
                features[i, channel] = line[cells[i, 0] * width + cells[i, 1]]
    return at - begin


@jit
def update_map(
    rows: np.ndarray,
    numbers: np.ndarray,
    was: np.ndarray,
    row: np.ndarray,
    col: np.ndarray,
    after: np.ndarray,
    out: np.ndarray,
    begin: int,
    end: int,
) -> None:
    """Writes sites into a map, and the background where sites were.

    Args:
        rows: (N, >= C) float32, values with the background in them.
        numbers: (h + 2, w + 2) number of each site.
        was: (h, w) bool, where the map differs from the background; is updated.
        row: of the background.
        col: of the background.
        after: of the background.
        out: (C, h, w) float32.
        begin: first row of the map to write.
        end: the one after the last.
    """
    channels, width = out.shape[0], out.shape[2]
    new, ids = np.empty(width, np.int32), np.empty(width, np.int32)
    old = np.empty(width, np.int32)
    for y in range(begin, end):
        news = olds = 0
        for x in range(width):
            number = numbers[y + 1, x + 1]
            if number != 0:
                new[news] = x
                ids[news] = number
                news += 1
            elif was[y, x]:
                old[olds] = x
                olds += 1
            was[y, x] = number != 0
        # A row of one channel at a time: its cache lines are written as wholes.
        for channel in range(channels):
            for i in range(olds):
                out[channel, y, old[i]] = after[row[y], col[old[i]], channel]
            for i in range(news):
                out[channel, y, new[i]] = rows[ids[i], channel]
