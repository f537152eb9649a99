# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import math

import pytest
import torch

from tiny_bev_ros.models.heads.box_ops import corners_bev, iou_3d, iou_bev, nms_bev, overlap_bev


def box(x=0.0, y=0.0, z=0.0, length=4.0, width=2.0, height=1.5, yaw=0.0):
    return [x, y, z, length, width, height, yaw]


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float32)


def test_corners_turn_with_the_box():
    corners = corners_bev(boxes(box(1, 2, yaw=math.pi / 2)))
    expected = torch.tensor([[0.0, 4.0], [0.0, 0.0], [2.0, 0.0], [2.0, 4.0]])
    torch.testing.assert_close(corners[0], expected)


@pytest.mark.parametrize(
    ('other', 'area'),
    [
        (box(), 8.0),
        (box(yaw=math.pi), 8.0),
        (box(1), 6.0),
        (box(1, 0.5), 4.5),
        (box(4), 0.0),
        (box(40), 0.0),
        (box(length=1, width=1), 1.0),
        (box(length=1, width=1, yaw=0.7), 1.0),
        (box(yaw=math.pi / 2), 4.0),
        # Square of side 2 turned by 45 degrees, two of whose corners stick out.
        (box(length=2, width=2, yaw=math.pi / 4), 4 - 2 * (math.sqrt(2) - 1) ** 2),
        (box(2, 1, length=2, width=2), 1.0),
    ],
)
def test_overlap_of_known_areas(other, area):
    for shift in (0.0, 500.0):
        one, two = boxes(box(shift)), boxes([other[0] + shift, *other[1:]])
        assert overlap_bev(one, two).item() == pytest.approx(area, abs=2e-4)
        assert overlap_bev(two, one).item() == pytest.approx(area, abs=2e-4)


def test_overlap_against_sampling():
    generator = torch.Generator().manual_seed(0)
    place = torch.rand(30, 2, generator=generator) * 6
    size = torch.rand(30, 3, generator=generator) * 4 + 0.5
    yaw = torch.rand(30, 1, generator=generator) * 7
    some = torch.cat([place, torch.zeros(30, 1), size, yaw], dim=1)
    at = torch.stack(torch.meshgrid(*[torch.linspace(-3, 9, 601)] * 2, indexing='ij'), -1)
    at = at.view(-1, 2)
    inside = []
    for each in some:
        away = at - each[:2]
        along = away[:, 0] * each[6].cos() + away[:, 1] * each[6].sin()
        across = away[:, 1] * each[6].cos() - away[:, 0] * each[6].sin()
        inside.append((along.abs() <= each[3] / 2) & (across.abs() <= each[4] / 2))
    covered = torch.stack(inside).float()
    sampled = covered @ covered.T * (12 / 600) ** 2
    torch.testing.assert_close(overlap_bev(some, some), sampled, atol=0.06, rtol=0.02)


def test_iou_from_above_and_in_space():
    one = boxes(box(z=0.0))
    assert iou_bev(one, one).item() == pytest.approx(1)
    assert iou_3d(one, one).item() == pytest.approx(1)
    shifted = boxes(box(2, z=0.5))
    assert iou_bev(one, shifted).item() == pytest.approx(4 / 12)
    assert iou_3d(one, shifted).item() == pytest.approx(4 / (24 - 4))
    above = boxes(box(z=2))
    assert iou_bev(one, above).item() == pytest.approx(1)
    assert iou_3d(one, above).item() == 0


def test_none_at_all():
    none = torch.empty(0, 7)
    assert iou_bev(none, boxes(box())).shape == (0, 1)
    assert iou_3d(boxes(box()), none).shape == (1, 0)
    assert nms_bev(none, torch.empty(0), torch.empty(0, dtype=torch.long), 0.1).shape == (0,)


def test_suppression_keeps_the_best_of_each_class():
    some = boxes(box(0), box(0.3), box(0.1, yaw=0.1), box(10), box(0.2))
    scores = torch.tensor([0.6, 0.9, 0.5, 0.3, 0.8])
    labels = torch.tensor([0, 0, 0, 0, 1])
    assert nms_bev(some, scores, labels, 0.15).tolist() == [1, 4, 3]
    # A removed box removes no others.
    chain = boxes(box(0), box(2.5), box(5))
    kept = nms_bev(chain, torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3, dtype=torch.long), 0.1)
    assert kept.tolist() == [0, 2]


def test_suppression_is_as_good_far_from_the_origin():
    torch.manual_seed(0)
    boxes = torch.zeros(200, 7)
    boxes[:, :2] = (torch.rand(200, 2) * 100 - 50).mul(64).round() / 64
    boxes[:, 3:6] = torch.tensor([4.0, 2.0, 1.5])
    boxes[:, 6] = torch.rand(200) * 6
    scores, labels = torch.rand(200), torch.zeros(200, dtype=torch.long)
    far = boxes + torch.tensor([16000.0, -16000.0, 0, 0, 0, 0, 0])
    kept = nms_bev(boxes, scores, labels, 0.15)
    assert len(kept) < 200 and torch.equal(nms_bev(far, scores, labels, 0.15), kept)


def test_a_point_overlaps_nothing():
    point, box = torch.zeros(1, 7), torch.tensor([[0.1, 0, 0, 3, 4, 1, 0.3]])
    assert overlap_bev(point, box) == overlap_bev(box, point) == overlap_bev(point, point) == 0
