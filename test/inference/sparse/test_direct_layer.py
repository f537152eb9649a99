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

from tiny_bev_ros.inference.sparse.direct_layer import choose_groups, rectangles, taps_in_mask


@pytest.mark.parametrize('kernel', [1, 3])
def test_rectangles_contain_their_taps_and_are_rectangles(kernel: int):
    around = rectangles(kernel)
    for mask in range(1, len(around)):
        taps, inside = taps_in_mask(mask, kernel), taps_in_mask(int(around[mask]), kernel)
        assert set(taps) <= set(inside)
        rows, cols = {tap // kernel for tap in taps}, {tap % kernel for tap in taps}
        assert len(inside) == len(rows) * len(cols)
    assert around[-1] == len(around) - 1


@pytest.mark.parametrize('scale', [1, 40, 1000])
def test_every_site_stays_in_a_group_that_has_its_taps(scale: int):
    before = np.random.default_rng(scale).integers(0, scale, 512)
    before[0] = 0
    counts = before.copy()
    group_of = choose_groups(counts, 3)
    assert counts.sum() == before.sum()
    for mask in np.flatnonzero(before):
        assert mask & group_of[mask] == mask
        assert counts[group_of[mask]] >= before[mask]
    assert ((counts == 0) | (counts >= 64))[:-1].all()
