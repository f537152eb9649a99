# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Direct convolution: its output sites, gathering of its inputs, epilogue of its products."""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.inference.kernels.epilogue import apply_epilogue
from tiny_bev_ros.inference.kernels.simd import jit, load, store
from tiny_bev_ros.inference.sparse.row_padding import WIDTH


@jit
def mark_taps(cells: np.ndarray, count: int, kernel: int, stride: int, taps: np.ndarray) -> None:
    """Marks for each output site the taps that have an active input site.

    Args:
        cells: (>= count + 1, 2) int32 [row, col] of the active input sites, from 1 on.
        count: number of active input sites.
        kernel: kernel size, 1 or 3.
        stride: stride of the convolution.
        taps: (H_out + 2, W_out + 2) uint16, all 0; receives bit ky * kernel + kx. Its border is
            outside the map.
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


@jit
def count_groups(taps: np.ndarray, counts: np.ndarray) -> int:
    """Counts the active output sites of each mask of taps.

    Args:
        taps: (H + 2, W + 2) uint16 masks of taps; the border is cleared.
        counts: (2**taps,) int64; is overwritten.

    Returns:
        Number of active output sites.
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


@jit
def list_sites(taps: np.ndarray, group: np.ndarray, begins: np.ndarray, cells: np.ndarray) -> None:
    """Lists the active output sites group by group, and clears the taps.

    Args:
        taps: (H + 2, W + 2) uint16 masks of taps.
        group: (2**taps,) group of each mask of taps.
        begins: (2**taps,) index in ``cells`` of each group's first site; is advanced.
        cells: receives [row, col] of each site.
    """
    for y in range(1, taps.shape[0] - 1):
        for x in range(1, taps.shape[1] - 1):
            if taps[y, x]:
                at = begins[group[taps[y, x]]]
                begins[group[taps[y, x]]] += 1
                cells[at, 0] = y - 1
                cells[at, 1] = x - 1
                taps[y, x] = 0


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
