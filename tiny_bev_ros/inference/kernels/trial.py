# SPDX-License-Identifier: Apache-2.0
"""Trial kernel, which checks that numba can compile vectors on this machine."""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.inference.kernels.simd import jit, load, maximum, splat, store
from tiny_bev_ros.inference.sparse.row_padding import WIDTH


@jit
def _relu(row: np.ndarray) -> None:
    store(row, 0, maximum(load(row, 0), splat(np.float32(0))))


def works() -> bool:
    """Returns True if the kernel computes the right values."""
    row = np.arange(WIDTH, dtype=np.float32) - 8
    expected = np.maximum(row, 0)
    _relu(row)
    return bool((row == expected).all())
