# SPDX-License-Identifier: Apache-2.0
"""Lists of active sites and index maps, for the direct sparse convolution."""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.inference.kernels.simd import jit


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
def fill_index_map(cells: np.ndarray, count: int, index_map: np.ndarray) -> None:
    """Writes the row of each active site into the index map, which must be all 0."""
    for i in range(1, count + 1):
        index_map[cells[i, 0] + 1, cells[i, 1] + 1] = i


@jit
def clear_index_map(cells: np.ndarray, count: int, index_map: np.ndarray) -> None:
    """Resets the index map to 0 at the active sites."""
    for i in range(1, count + 1):
        index_map[cells[i, 0] + 1, cells[i, 1] + 1] = 0
