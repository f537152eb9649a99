# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Average of weights: parameters and statistics of batch norms, faster in the first steps."""

from __future__ import annotations

import torch
from torch import nn

from tiny_bev_ros.training.weight_average import WeightAverage


def network(value):
    layers = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with torch.no_grad():
        for tensor in layers.state_dict().values():
            tensor.fill_(value)
    return layers


def values(module):
    return {name: tensor.flatten()[0].item() for name, tensor in module.state_dict().items()}


def test_the_average_moves_by_the_decay():
    average = WeightAverage(network(0.0), 0.9)
    average.update(network(10.0), 1000)
    after = values(average.network)
    assert after.pop('1.num_batches_tracked') == 10
    assert len(after) == 6
    for value in after.values():
        assert abs(value - 1.0) < 1e-5
    average.update(network(10.0), 1001)
    assert abs(values(average.network)['0.weight'] - 1.9) < 1e-5


def test_first_steps_count_more():
    average = WeightAverage(network(0.0), 0.999)
    average.update(network(1.0), 0)
    assert abs(values(average.network)['0.weight'] - 0.9) < 1e-6


def test_without_decay_the_last_weights_are_kept():
    average = WeightAverage(network(0.0), 0.0)
    average.update(network(3.0), 0)
    assert set(values(average.network).values()) == {3.0}


def test_the_average_is_no_part_of_the_training():
    trained = network(1.0)
    average = WeightAverage(trained, 0.9)
    assert not average.network.training
    assert not any(parameter.requires_grad for parameter in average.network.parameters())
    with torch.no_grad():
        trained[0].weight.fill_(5.0)
    assert values(average.network)['0.weight'] == 1.0
