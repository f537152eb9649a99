# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import pytest
import torch

from benchmarks.engine import compare


def test_errors_are_relative():
    wanted = torch.tensor([0.0, 3.0, -4.0])
    found = compare.errors(torch.tensor([0.0, 3.0, -3.0]), wanted)
    assert found == pytest.approx({'max_error': 0.25, 'mean_error': 0.25 / 3, 'l2_error': 0.2})


def test_another_shape_has_no_errors():
    assert compare.errors(torch.zeros(3), torch.zeros(4)) == {}


def test_a_row_per_input_and_contender(monkeypatch):
    images = {'sweep 1': torch.zeros(1, 1, 2, 2), 'random 0': torch.ones(1, 1, 2, 2)}
    monkeypatch.setattr(compare, 'pseudo_images', lambda _: iter(images.items()))
    network = torch.nn.Identity()
    found = {'eager': network, 'double': lambda x: 2 * x}
    rows = compare.compare({}, network, found, 3)
    named = [(row['input'], row['contender'], row['active_fraction']) for row in rows]
    assert named == [
        ('sweep 1', 'eager', 0.0),
        ('sweep 1', 'double', 0.0),
        ('random 0', 'eager', 1.0),
        ('random 0', 'double', 1.0),
    ]
    assert rows[3]['max_error'] == 1.0
    assert all(len(row['ms']) == 3 and row['work_fraction'] == 1.0 for row in rows)
