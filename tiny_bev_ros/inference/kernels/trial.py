# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
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
