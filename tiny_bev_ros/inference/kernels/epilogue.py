# SPDX-License-Identifier: Apache-2.0
"""Epilogue of the products of a sparse layer: background and ReLU."""

from __future__ import annotations

from typing import Any

from tiny_bev_ros.inference.kernels.simd import jit, maximum, splat


@jit
def apply_epilogue(value: Any, pre_relu: Any, post_relu: Any, relu: bool, delta: bool) -> Any:
    """Adds the background, applies ReLU and subtracts the background after ReLU.

    Args:
        value: vector of products.
        pre_relu: vector of the background before ReLU.
        post_relu: vector of the background after ReLU.
        relu: True to apply ReLU.
        delta: True to subtract the background, which leaves the delta.
    """
    value = value + pre_relu
    if relu:
        value = maximum(value, splat(0))
    if delta:
        value = value - post_relu
    return value
