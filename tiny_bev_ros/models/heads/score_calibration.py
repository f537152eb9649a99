# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""ScoreCalibration: scores that are the fraction of detections that are right."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tiny_bev_ros.models.heads.detection import CLASSES


class ScoreCalibration(nn.Module):
    """Platt scaling by class: score = sigmoid(scale * logit + bias).

    Losses use uncalibrated logits. `evaluate --calibrate` fits it after training; until then, and
    for checkpoints without it, it is the identity on logits.

    Platt, "Probabilistic Outputs for Support Vector Machines", 1999.

    Args:
        num_classes: number of classes.

    Attributes:
        scale: (K,) float32 factor of the logits, above 0.
        bias: (K,) float32 summand of the scaled logits.
    """

    scale: Tensor
    bias: Tensor

    def __init__(self, num_classes: int = len(CLASSES)) -> None:
        super().__init__()
        self.register_buffer('scale', torch.ones(num_classes))
        self.register_buffer('bias', torch.zeros(num_classes))

    def reset(self) -> None:
        """Makes it the identity on logits, for weights that are trained further."""
        self.scale.fill_(1.0)
        self.bias.zero_()

    def forward(self, logits: Tensor) -> Tensor:
        """Computes the scores of logits (B,K,N), of every class."""
        return (logits * self.scale[:, None] + self.bias[:, None]).sigmoid()

    def of_maps(self, logits: Tensor) -> Tensor:
        """Computes the scores of heatmaps (B,K,h,w)."""
        return (logits * self.scale[:, None, None] + self.bias[:, None, None]).sigmoid()

    def of_labels(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Computes the scores of logits (N,) of objects of classes (N,) int64."""
        return (logits * self.scale[labels] + self.bias[labels]).sigmoid()

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **keywords: Any
    ) -> None:
        """Loads the buffers; those that older files lack become the identity."""
        state_dict.setdefault(f'{prefix}scale', torch.ones_like(self.scale))
        state_dict.setdefault(f'{prefix}bias', torch.zeros_like(self.bias))
        super()._load_from_state_dict(state_dict, prefix, *args, **keywords)
