# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Reproducible random weights."""

from __future__ import annotations

import torch

from tiny_bev_ros.models import PillarFeatureNet, seeded


def weights(seed):
    with seeded(seed):
        return PillarFeatureNet().linear.weight


def test_the_seed_decides_the_weights():
    assert torch.equal(weights(5), weights(5))
    assert not torch.equal(weights(5), weights(6))


def test_random_numbers_outside_do_not_change():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    weights(5)
    assert torch.equal(torch.rand(3), expected)


def test_the_generator_is_restored_after_an_error():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    try:
        with seeded(5):
            raise KeyError
    except KeyError:
        pass
    assert torch.equal(torch.rand(3), expected)
