# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Compiled non-maximum suppression keeps the boxes that PyTorch's keeps."""

from __future__ import annotations

import pytest
import torch

from tiny_bev_ros.inference import fast_nms
from tiny_bev_ros.inference.numba_support import numba_unavailable_reason
from tiny_bev_ros.models.heads.box_ops import nms_bev

needs_numba = pytest.mark.skipif(
    bool(numba_unavailable_reason()), reason=numba_unavailable_reason()
)


def random_boxes(count: int, spread: float, generator: torch.Generator) -> torch.Tensor:
    """Boxes on a square of a side in metres, of sides from 2 cm to 4 m."""
    boxes = torch.rand(count, 7, generator=generator)
    boxes[:, :2] = (boxes[:, :2] - 0.5) * spread
    boxes[:, 3:6] = boxes[:, 3:6] * 4 + 0.02
    boxes[:, 6] = (boxes[:, 6] - 0.5) * 7
    return boxes


def equal_pairs(boxes: torch.Tensor) -> torch.Tensor:
    half = len(boxes) // 2
    return torch.cat([boxes[:half], boxes[:half]])


def aligned(boxes: torch.Tensor) -> torch.Tensor:
    boxes[:, 6] = (boxes[:, 6] * 2).round() * torch.pi / 2
    boxes[:, :2] = boxes[:, :2].round()
    boxes[:, 3:5] = boxes[:, 3:5].round()  # edges touch, and some sides are 0
    return boxes


def flat(boxes: torch.Tensor) -> torch.Tensor:
    boxes[::2, 3] = 0
    boxes[::3, 4] = 0
    return boxes


def far_away(boxes: torch.Tensor) -> torch.Tensor:
    boxes[:, :2] += 1e5
    return boxes


def not_a_number(boxes: torch.Tensor) -> torch.Tensor:
    boxes[::3] = torch.nan
    return boxes


@needs_numba
@pytest.mark.parametrize('change', [None, equal_pairs, aligned, flat, far_away, not_a_number])
@pytest.mark.parametrize('spread', [3.0, 20.0, 80.0])
def test_the_boxes_of_pytorch_are_kept(change, spread: float):
    generator = torch.Generator().manual_seed(0)
    for count in (0, 1, 2, 30, 90):
        boxes = random_boxes(count, spread, generator)
        boxes = boxes if change is None else change(boxes)
        scores = torch.rand(len(boxes), generator=generator)
        labels = torch.randint(0, 3, (len(boxes),), generator=generator)
        for given in (scores, (scores * 3).round() / 3):  # equal scores too
            wanted = nms_bev(boxes, given, labels, 0.15)
            assert torch.equal(fast_nms.fast_nms(boxes, given, labels, 0.15), wanted)


@needs_numba
def test_no_table_of_all_pairs_is_made(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fast_nms, 'nms_bev', None)  # no table of all pairs
    boxes = torch.tensor([[0.0, 0, 0, 4, 2, 1, 0.3]]).repeat(500, 1)
    scores, labels = torch.linspace(0, 1, 500), torch.zeros(500, dtype=torch.long)
    assert fast_nms.fast_nms(boxes, scores, labels, 0.15).tolist() == [499]


def test_pytorch_replaces_the_kernel(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fast_nms, 'numba_unavailable_reason', lambda: 'not wanted here')
    monkeypatch.setattr(fast_nms, 'nms_bev', lambda *given: given)
    assert fast_nms.fast_nms(1, 2, 3, 4) == (1, 2, 3, 4)
