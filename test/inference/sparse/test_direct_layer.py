# SPDX-License-Identifier: Apache-2.0
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
