# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
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
