# SPDX-License-Identifier: Apache-2.0
"""The inner loops of the sparse engine on the CPU, compiled by numba.

Rows are the values of one site each; row 0 is all zeros and stands for every site that is not
active. Maps of row numbers have a border of one cell, so that neighbours need no bounds check.
"""

from __future__ import annotations

import numba
import numpy as np

_jit = numba.njit(cache=True, nogil=True, fastmath=False, error_model='numpy')
FLOAT32_BITS = np.uint32(0x7FFFFFFF)


@_jit
def nonzero_cells(canvas: np.ndarray, seen: np.ndarray) -> int:
    """Marks the cells in which a channel is not 0, and counts them.

    Args:
        canvas: (C, H*W) uint32 view of float32.
        seen: (H*W,) uint32; is overwritten.
    """
    seen[:] = 0
    for channel in range(canvas.shape[0]):
        for cell in range(canvas.shape[1]):
            seen[cell] |= canvas[channel, cell]
    count = 0
    for cell in range(seen.shape[0]):
        count += (seen[cell] & FLOAT32_BITS) != 0
    return count


@_jit
def take_cells(
    canvas: np.ndarray, seen: np.ndarray, width: int, cells: np.ndarray, features: np.ndarray
) -> None:
    """Copies what `nonzero_cells` has marked.

    Args:
        canvas: (C, H*W) float32.
        seen: (H*W,) uint32, of `nonzero_cells`.
        width: W.
        cells: (N, 2), gets the places.
        features: (N, C) float32, gets the values.
    """
    at = 0
    for cell in range(seen.shape[0]):
        if (seen[cell] & FLOAT32_BITS) != 0:
            cells[at, 0] = cell // width
            cells[at, 1] = cell % width
            at += 1
    for channel in range(canvas.shape[0]):
        for i in range(at):
            features[i, channel] = canvas[channel, cells[i, 0] * width + cells[i, 1]]


@_jit
def mark_taps(cells: np.ndarray, count: int, kernel: int, stride: int, taps: np.ndarray) -> None:
    """Notes for each output site which of its taps meet an active input site.

    Args:
        cells: (>= count + 1, 2) int32, active input sites from 1 on.
        count: number of them.
        kernel: 1 or 3.
        stride: of the convolution.
        taps: (H_out + 2, W_out + 2) uint16, all 0; gets bit ky * kernel + kx. What falls on
            its border lies outside of the map.
    """
    pad = kernel // 2
    for i in range(1, count + 1):
        for ky in range(kernel):
            y = cells[i, 0] + pad - ky
            if stride > 1 and y % stride != 0:
                continue
            for kx in range(kernel):
                x = cells[i, 1] + pad - kx
                if stride == 1:
                    taps[y + 1, x + 1] |= np.uint16(1 << (ky * kernel + kx))
                elif x % stride == 0:
                    at = np.uint16(1 << (ky * kernel + kx))
                    taps[y // stride + 1, x // stride + 1] |= at


@_jit
def count_groups(taps: np.ndarray, counts: np.ndarray) -> int:
    """Counts the active output sites of each combination of taps; returns their total.

    Args:
        taps: (H + 2, W + 2) uint16; its border is cleared.
        counts: (2**taps,) int64; is overwritten.
    """
    taps[0] = 0
    taps[-1] = 0
    taps[:, 0] = 0
    taps[:, -1] = 0
    counts[:] = 0
    total = 0
    for y in range(1, taps.shape[0] - 1):
        for x in range(1, taps.shape[1] - 1):
            if taps[y, x]:
                counts[taps[y, x]] += 1
                total += 1
    return total


@_jit
def place_sites(
    taps: np.ndarray, group: np.ndarray, begins: np.ndarray, cells: np.ndarray
) -> None:
    """Lists the active output sites group by group, and clears the taps.

    Args:
        taps: (H + 2, W + 2) uint16.
        group: (2**taps,) group of each combination of taps.
        begins: (2**taps,) index in cells of each group's first site; is advanced.
        cells: gets the place of each site.
    """
    for y in range(1, taps.shape[0] - 1):
        for x in range(1, taps.shape[1] - 1):
            if taps[y, x]:
                at = begins[group[taps[y, x]]]
                begins[group[taps[y, x]]] += 1
                cells[at, 0] = y - 1
                cells[at, 1] = x - 1
                taps[y, x] = 0


@_jit
def number_sites(cells: np.ndarray, count: int, numbers: np.ndarray) -> None:
    """Writes the number of each site at its place."""
    for i in range(1, count + 1):
        numbers[cells[i, 0] + 1, cells[i, 1] + 1] = i


@_jit
def clear_sites(cells: np.ndarray, count: int, numbers: np.ndarray) -> None:
    """Takes the numbers away again."""
    for i in range(1, count + 1):
        numbers[cells[i, 0] + 1, cells[i, 1] + 1] = 0


@_jit
def gather(
    rows: np.ndarray,
    numbers: np.ndarray,
    cells: np.ndarray,
    begin: int,
    end: int,
    stride: int,
    offsets: np.ndarray,
    out: np.ndarray,
) -> None:
    """Lays the neighbours of output sites side by side.

    Args:
        rows: (N, C) values of the input sites.
        numbers: (H + 2, W + 2) number of each input site.
        cells: places of the output sites.
        begin: first of them.
        end: the one after the last.
        stride: of the convolution.
        offsets: (taps, 2) place of each tap on the bordered map.
        out: (>= end - begin, taps * C).
    """
    channels = rows.shape[1]
    for i in range(begin, end):
        y, x = cells[i, 0] * stride, cells[i, 1] * stride
        for tap in range(offsets.shape[0]):
            source = numbers[y + offsets[tap, 0], x + offsets[tap, 1]]
            first = tap * channels
            for channel in range(channels):
                out[i - begin, first + channel] = rows[source, channel]


@_jit
def finish(
    product: np.ndarray,
    cells: np.ndarray,
    begin: int,
    end: int,
    row: np.ndarray,
    col: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    relu: bool,
    delta: bool,
    out: np.ndarray,
) -> None:
    """Adds the background before ReLU, and applies ReLU.

    Args:
        product: (>= end - begin, C) float32.
        cells: places of the output sites.
        begin: first of them.
        end: the one after the last.
        row: of the background.
        col: of the background.
        before: of the background.
        after: of the background.
        relu: whether the layer has one.
        delta: whether the background is taken away again.
        out: (>= end - begin, C) float32; may be product.
    """
    for i in range(begin, end):
        y, x = row[cells[i, 0]], col[cells[i, 1]]
        for channel in range(product.shape[1]):
            value = product[i - begin, channel] + before[y, x, channel]
            if relu:
                value = max(value, np.float32(0))
            if delta:
                value -= after[y, x, channel]
            out[i - begin, channel] = value


@_jit
def update_map(
    rows: np.ndarray,
    numbers: np.ndarray,
    was: np.ndarray,
    row: np.ndarray,
    col: np.ndarray,
    after: np.ndarray,
    out: np.ndarray,
) -> None:
    """Writes sites into a map, and the background where sites were.

    Args:
        rows: (N, C) float32, values with the background in them.
        numbers: (h + 2, w + 2) number of each site.
        was: (h, w) bool, where the map differs from the background; is updated.
        row: of the background.
        col: of the background.
        after: of the background.
        out: (C, h, w) float32.
    """
    channels, height, width = out.shape
    new, ids = np.empty(width, np.int32), np.empty(width, np.int32)
    old = np.empty(width, np.int32)
    for y in range(height):
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
