# SPDX-License-Identifier: Apache-2.0
"""The choice between the sparse and the dense path, and the map of a warm-up."""

from __future__ import annotations

import pytest
import torch

from tiny_bev_ros.inference.backbone_paths import (
    CPU_MAX_WORK_FRACTION,
    CUDA_MAX_WORK_FRACTION_ESTIMATE,
    sparse_is_cheaper,
)
from tiny_bev_ros.inference.sparse.sparse_path import random_pillars

CPU, CUDA = torch.device('cpu'), torch.device('cuda')
SHAPE = (100, 120)


@pytest.mark.parametrize(
    ('device', 'limit'), [(CPU, CPU_MAX_WORK_FRACTION), (CUDA, CUDA_MAX_WORK_FRACTION_ESTIMATE)]
)
def test_the_sparse_path_is_cheaper_up_to_the_limit_of_the_device(
    device: torch.device, limit: float
):
    assert 0 < limit < 1
    assert sparse_is_cheaper(0.0, device)
    assert sparse_is_cheaper(limit, device)
    assert not sparse_is_cheaper(limit + 1e-6, device)


def test_random_maps_are_the_same_each_time():
    features, cells = random_pillars(0.1, 6, SHAPE, CPU)
    assert features.shape == (len(cells), 6)
    assert 0.08 < len(cells) / 12000 < 0.12
    assert len(torch.unique(cells, dim=0)) == len(cells)
    assert torch.equal(cells, random_pillars(0.1, 6, SHAPE, CPU)[1])
