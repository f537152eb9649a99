# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

from optional_packages import require_packages

require_packages('numba')

import numpy as np
import pytest

from tiny_bev_ros.inference.kernels import canvas_kernels


@pytest.mark.parametrize('cells', [1, 4095, 4096, 9000])
@pytest.mark.parametrize('fraction', [0.0, 0.01, 1.0])
def test_active_cells_have_a_non_zero_channel(cells: int, fraction: float):
    random = np.random.default_rng(cells)
    canvas = np.where(random.random(cells) < fraction, random.normal(size=(5, cells)), 0)
    canvas = canvas.astype(np.float32)
    canvas[1:, ::2] = 0  # One non-zero channel suffices.
    listed, features = np.empty((cells, 2), np.int32), np.empty((cells, 5), np.float32)
    begin, end = cells // 3, cells
    count = canvas_kernels.active_cells(canvas, 3, begin, end, listed, features)
    wanted = begin + np.flatnonzero((canvas[:, begin:] != 0).any(0))
    assert np.array_equal(listed[begin : begin + count] @ [3, 1], wanted)
    assert np.array_equal(features[begin : begin + count], canvas[:, wanted].T)


def test_minus_zero_is_zero_and_nan_is_not():
    canvas = np.zeros((2, 8), np.float32)
    canvas[1, 3], canvas[0, 5], canvas[1, 6] = -0.0, np.nan, 1e-45
    listed, features = np.empty((8, 2), np.int32), np.empty((8, 2), np.float32)
    assert canvas_kernels.active_cells(canvas, 8, 0, 8, listed, features) == 2
    assert listed[:2, 1].tolist() == [5, 6]
