# SPDX-License-Identifier: Apache-2.0
"""A convolution at listed sites: what goes into the product, and what comes of it."""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.inference.kernels.epilogue import settle
from tiny_bev_ros.inference.kernels.simd import jit, load, store
from tiny_bev_ros.inference.sparse.row_padding import WIDTH


@jit
def gather(
    rows: np.ndarray,
    channels: int,
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
        rows: flat, values of the input sites.
        channels: length of a row.
        numbers: (H + 2, W + 2) number of each input site.
        cells: places of the output sites.
        begin: first of them.
        end: the one after the last.
        stride: of the convolution.
        offsets: (taps, 2) place of each tap on the bordered map.
        out: flat, (end - begin, taps, channels), of the dtype of the rows.
    """
    to = 0
    for i in range(begin, end):
        y, x = cells[i, 0] * stride, cells[i, 1] * stride
        for tap in range(offsets.shape[0]):
            source = numbers[y + offsets[tap, 0], x + offsets[tap, 1]] * channels
            for channel in range(0, channels, WIDTH):
                store(out, to + channel, load(rows, source + channel))
            to += channels


@jit
def finish(
    product: np.ndarray,
    channels: int,
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
        product: flat, (end - begin, channels).
        channels: length of a row.
        cells: places of the output sites.
        begin: first of them.
        end: the one after the last.
        row: of the background.
        col: of the background.
        before: (h, w, channels) of the background.
        after: likewise.
        relu: whether the layer has one.
        delta: whether the background is taken away again.
        out: flat, rows of the output sites.
    """
    width, flat_before, flat_after = before.shape[1], before.reshape(-1), after.reshape(-1)
    for i in range(begin, end):
        of = (row[cells[i, 0]] * width + col[cells[i, 1]]) * channels
        for channel in range(0, channels, WIDTH):
            value = load(product, (i - begin) * channels + channel)
            before_relu, after_relu = (
                load(flat_before, of + channel),
                load(flat_after, of + channel),
            )
            value = settle(value, before_relu, after_relu, relu, delta)
            store(out, i * channels + channel, value)
