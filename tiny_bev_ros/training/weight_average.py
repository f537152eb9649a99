# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Average of a network's weights over the steps of a training."""

from __future__ import annotations

import copy

import torch
from torch import nn


class WeightAverage:
    """Exponential moving average of the weights of a network.

    The average follows faster in the first steps, as TensorFlow's ExponentialMovingAverage does:
    the decay of update i, from 0, is at most (1 + i) / (10 + i). So short runs are averaged, too,
    over about the last tenth of their steps. Means and variances of batch norms are averaged like
    parameters, as those of the last steps do not belong to averaged weights; counters are copied.

    Args:
        network: network whose weights are averaged.
        decay: fraction of the average that an update keeps, from 0 to less than 1.

    Attributes:
        network: copy of the network that holds the average, in eval mode and without gradients.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Moves the average towards the weights of a network.

        Args:
            network: network of the same structure.
            step: number of updates before this one.
        """
        decay = min(self._decay, (1 + step) / (10 + step))
        values = network.state_dict()
        for name, average in self.network.state_dict().items():
            if average.is_floating_point():
                average.lerp_(values[name], 1 - decay)
            else:
                average.copy_(values[name])
