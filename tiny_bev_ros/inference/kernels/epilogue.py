# SPDX-License-Identifier: Apache-2.0
"""What follows the products of a sparse layer, whichever way they were made."""

from __future__ import annotations

from typing import Any

from tiny_bev_ros.inference.kernels.simd import jit, larger, splat


@jit
def settle(value: Any, before: Any, after: Any, relu: bool, delta: bool) -> Any:
    """Adds the background before ReLU, applies ReLU, and takes the background away again.

    Args:
        value: vector of products.
        before: likewise, the background before ReLU.
        after: likewise, the background after it.
        relu: whether the layer has one.
        delta: whether the background is taken away again.
    """
    value = value + before
    if relu:
        value = larger(value, splat(0))
    if delta:
        value = value - after
    return value
