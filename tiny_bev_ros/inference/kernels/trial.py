# SPDX-License-Identifier: Apache-2.0
"""A kernel that shows whether vectors can be compiled at all."""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.inference.kernels.simd import jit, larger, load, splat, store
from tiny_bev_ros.inference.sparse.row_padding import WIDTH


@jit
def _relu(row: np.ndarray) -> None:
    store(row, 0, larger(load(row, 0), splat(np.float32(0))))


def works() -> bool:
    """Tells whether the kernel computes the right numbers."""
    row = np.arange(WIDTH, dtype=np.float32) - 8
    wanted = np.maximum(row, 0)
    _relu(row)
    return bool((row == wanted).all())
