# SPDX-License-Identifier: Apache-2.0
"""Direct convolution at listed sites: gathering of its inputs, epilogue of its products."""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.inference.kernels.epilogue import apply_epilogue
from tiny_bev_ros.inference.kernels.simd import jit, load, store
from tiny_bev_ros.inference.sparse.row_padding import WIDTH


@jit
def gather(
    rows: np.ndarray,
    channels: int,
    index_map: np.ndarray,
    cells: np.ndarray,
    begin: int,
    end: int,
    stride: int,
    offsets: np.ndarray,
    out: np.ndarray,
) -> None:
    """Gathers the neighbours of output sites side by side (im2col).

    Args:
        rows: flat rows of the input sites.
        channels: length of a row.
        index_map: (H + 2, W + 2) row of each input site.
        cells: (sites, 2) [row, col] of the output sites.
        begin: first output site.
        end: end of the output sites.
        stride: stride of the convolution.
        offsets: (taps, 2) offset of each tap on the index map.
        out: flat (end - begin, taps, channels), dtype of the rows; receives the values.
    """
    to = 0
    for i in range(begin, end):
        y, x = cells[i, 0] * stride, cells[i, 1] * stride
        for tap in range(offsets.shape[0]):
            source = index_map[y + offsets[tap, 0], x + offsets[tap, 1]] * channels
            for channel in range(0, channels, WIDTH):
                store(out, to + channel, load(rows, source + channel))
            to += channels


@jit
def write_outputs(
    product: np.ndarray,
    channels: int,
    cells: np.ndarray,
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
    """Writes the rows of output sites: products plus background, ReLU applied.

    Args:
        product: flat (end - begin, channels) products of `gather` and the weights.
        channels: length of a row.
        cells: (sites, 2) [row, col] of the output sites.
        begin: first output site.
        end: end of the output sites.
        row: (H,) row of the background's tables for each row of the output.
        col: (W,) column of the background's tables for each column of the output.
        pre_relu: (h, w, channels) table of the background before ReLU.
        post_relu: (h, w, channels) table of the background after ReLU.
        relu: True to apply ReLU.
        delta: True to subtract the background after ReLU.
        out: flat; receives the rows of the output sites.
    """
    width, flat_pre, flat_post = pre_relu.shape[1], pre_relu.reshape(-1), post_relu.reshape(-1)
    for i in range(begin, end):
        background = (row[cells[i, 0]] * width + col[cells[i, 1]]) * channels
        for channel in range(0, channels, WIDTH):
            value = load(product, (i - begin) * channels + channel)
            value = apply_epilogue(
                value,
                load(flat_pre, background + channel),
                load(flat_post, background + channel),
                relu,
                delta,
            )
            store(out, i * channels + channel, value)
