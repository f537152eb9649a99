# SPDX-License-Identifier: Apache-2.0
"""Which sites are active, and where they stand."""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.inference.kernels.simd import jit


@jit
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


@jit
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


@jit
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


@jit
def number_sites(cells: np.ndarray, count: int, numbers: np.ndarray) -> None:
    """Writes the number of each site at its place."""
    for i in range(1, count + 1):
        numbers[cells[i, 0] + 1, cells[i, 1] + 1] = i


@jit
def clear_sites(cells: np.ndarray, count: int, numbers: np.ndarray) -> None:
    """Takes the numbers away again."""
    for i in range(1, count + 1):
        numbers[cells[i, 0] + 1, cells[i, 1] + 1] = 0
