# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Differences of two boxes in the frame of the first, by which the second stage changes boxes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tiny_bev_ros.models.heads.box_crops import crop_axes

# Number of residuals of a box, and the usual size of each: shifts along, across and of the bottom
# in metres, logarithms of the ratios of length, width and height, and the turn in radians.
NUM_RESIDUALS = 7
_SCALE = (0.5, 0.3, 0.3, 0.2, 0.2, 0.2, 0.3)
# Largest change of a logarithm of a side.
_MAX_LOG_RATIO = 0.5


def apply_residuals(boxes: Tensor, residuals: Tensor) -> Tensor:
    """Changes boxes (N,7) by residuals (N,7) in units of their usual size.

    A turn counts from the axis along the box to the axis across; see `crop_axes`.
    """
    axes = crop_axes(boxes)
    along, across, bottom, *log_ratios, turn = _scaled(residuals).unbind(1)
    ratios = torch.stack(log_ratios, 1).clamp(-_MAX_LOG_RATIO, _MAX_LOG_RATIO).exp()
    position = boxes[:, :2] + along[:, None] * axes[:, 0] + across[:, None] * axes[:, 1]
    size = boxes[:, 3:6] * ratios
    z = boxes[:, 2] - boxes[:, 5] / 2 + bottom + size[:, 2] / 2
    yaw = _wrapped(boxes[:, 6] + turn * _handedness(axes), 2 * math.pi)
    return torch.cat([position, z[:, None], size, yaw[:, None]], 1)


def residual_targets(boxes: Tensor, wanted: Tensor) -> Tensor:
    """Computes the residuals that take boxes (N,7) to other boxes (N,7).

    The heading stays on its side: a wanted box that is turned by more than a quarter counts as
    one of the opposite heading.
    """
    axes = crop_axes(boxes)
    shift = (axes * (wanted[:, None, :2] - boxes[:, None, :2])).sum(2)
    bottom = (wanted[:, 2] - wanted[:, 5] / 2) - (boxes[:, 2] - boxes[:, 5] / 2)
    ratios = (wanted[:, 3:6] / boxes[:, 3:6]).log()
    turn = _wrapped(wanted[:, 6] - boxes[:, 6], math.pi) * _handedness(axes)
    values = torch.cat([shift, bottom[:, None], ratios, turn[:, None]], 1)
    return values / values.new_tensor(_SCALE)


def _scaled(residuals: Tensor) -> Tensor:
    return residuals * residuals.new_tensor(_SCALE)


def _handedness(axes: Tensor) -> Tensor:
    """Returns (N,) 1 for right-handed axes (N,2,2), -1 for left-handed ones."""
    return axes[:, 0, 0] * axes[:, 1, 1] - axes[:, 0, 1] * axes[:, 1, 0]


def _wrapped(angle: Tensor, period: float) -> Tensor:
    """Returns angles within half a period of 0."""
    return (angle + period / 2).remainder(period) - period / 2
