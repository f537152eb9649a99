# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Residuals between boxes: they take one to the other, whichever way things are reflected."""

from __future__ import annotations

import math

import pytest
import torch

from tiny_bev_ros.models.heads.box_crops import crop_axes
from tiny_bev_ros.models.heads.box_ops import iou_bev, paired_iou_bev
from tiny_bev_ros.models.heads.box_residuals import apply_residuals, residual_targets


def boxes(count: int = 60, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    uniform = torch.rand(count, 7, generator=random)
    low = torch.tensor([-30.0, -30.0, -2.0, 0.6, 0.5, 1.0, -math.pi])
    high = torch.tensor([30.0, 30.0, 1.0, 9.0, 2.5, 3.0, math.pi])
    return low + (high - low) * uniform


def moved(given: torch.Tensor) -> torch.Tensor:
    noise = torch.randn(given.shape, generator=torch.Generator().manual_seed(9))
    other = given + noise * torch.tensor([0.4, 0.4, 0.2, 0.0, 0.0, 0.0, 0.3])
    other[:, 3:6] *= (0.1 * noise[:, 3:6]).exp()
    return other


def assert_close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found[:, :6], wanted[:, :6], atol=1e-4, rtol=1e-4)
    assert (found[:, 6] - wanted[:, 6]).sin().abs().max() < 1e-4
    assert (found[:, 6] - wanted[:, 6]).cos().min() > 0


def test_targets_take_a_box_to_the_wanted_one():
    given = boxes()
    assert_close(apply_residuals(given, residual_targets(given, moved(given))), moved(given))


def test_no_residuals_leave_boxes_as_they_are():
    assert_close(apply_residuals(boxes(), torch.zeros(60, 7)), boxes())


def test_a_wrong_heading_is_kept_and_its_line_is_fitted():
    given = boxes()
    opposite = moved(given)
    opposite[:, 6] += math.pi
    found = apply_residuals(given, residual_targets(given, opposite))
    assert_close(found, moved(given))


@pytest.mark.parametrize('axis', [0, 1])
def test_residuals_of_a_reflected_scene_are_the_same(axis: int):
    def reflected(given: torch.Tensor) -> torch.Tensor:
        other = given.clone()
        other[:, axis] *= -1
        other[:, 6] = -other[:, 6] if axis else math.pi - other[:, 6]
        return other

    given = boxes()
    found = residual_targets(reflected(given), reflected(moved(given)))
    wanted = residual_targets(given, moved(given))
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)


def test_axes_point_to_the_side_of_the_sensor():
    given = boxes()
    axes = crop_axes(given)
    assert (-(axes * given[:, None, :2]).sum(2) >= 0).all()
    torch.testing.assert_close(axes.norm(dim=2), torch.ones(60, 2))
    assert (axes[:, 0] * axes[:, 1]).sum(1).abs().max() < 1e-6


def test_large_changes_of_size_are_limited():
    found = apply_residuals(boxes(), torch.full((60, 7), 100.0))
    assert found[:, 3:6].max() <= 9.0 * math.exp(0.5) + 1e-3


def test_ious_of_pairs_are_those_of_the_tables():
    first, second = boxes(), moved(boxes())
    torch.testing.assert_close(paired_iou_bev(first, second), iou_bev(first, second).diagonal())
