# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
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
