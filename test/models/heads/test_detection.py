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
from torch.nn.functional import max_pool2d

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.heads.detection import CLASSES, DetectionMaps
from tiny_bev_ros.models.heads.detection_head import DetectionHead, decode
from tiny_bev_ros.models.heads.detection_loss import detection_loss, make_targets

GRID = BevGrid((0, 24), (-10, 10), (-3, 1), 0.5)
CAR = [10.3, 2.1, -0.9, 4.2, 1.7, 1.5, 0.4]
PERSON = [15.2, -5.3, -0.8, 0.6, 0.6, 1.75, -2.5]
BIKE = [5.0, -3.3, -0.9, 1.8, 0.6, 1.7, 3.0]
EVERYTHING = (torch.tensor([CAR, PERSON, BIKE]), torch.tensor([0, 1, 2]))


def targets_of(boxes, labels, ignored=None):
    ignored = torch.zeros(len(labels), dtype=torch.bool) if ignored is None else ignored
    return make_targets(boxes, labels, ignored, GRID)


def batch(targets):
    return type(targets)(*(each[None] for each in targets))


def perfect(targets):
    """Maps of a network that predicts its targets exactly."""
    heatmap = torch.where(targets.heatmap == 1, 8.0, -8.0)
    box = targets.box
    return DetectionMaps(
        heatmap[None],
        box[None, 0:2],
        box[None, 2:3],
        box[None, 3:6],
        box[None, 6:8],
        (box[None, 8:9] * 2 - 1) * 8,
    )


def test_maps_have_the_size_of_the_features():
    head = DetectionHead(in_channels=16, mid_channels=8).eval()
    maps = head(torch.zeros(2, 16, 9, 7))
    assert [each.shape[1] for each in maps] == [3, 2, 1, 3, 2, 1]
    assert all(each.shape == (2, each.shape[1], 9, 7) for each in maps)
    assert all(each.dtype == torch.float32 for each in maps)
    # An untrained head finds nothing.
    assert maps.heatmap.sigmoid().max() < 0.05


def test_drawn_targets_decode_to_their_boxes():
    found = decode(perfect(targets_of(*EVERYTHING)), GRID, (0.5,) * 3)[0]
    assert sorted(found.labels.tolist()) == [0, 1, 2]
    for box, label in zip(*EVERYTHING, strict=True):
        mine = found.boxes[found.labels == label][0]
        torch.testing.assert_close(mine[:6], box[:6], atol=1e-5, rtol=1e-5)
        turn = mine[6] - box[6]
        assert math.cos(turn) == pytest.approx(1, abs=1e-5)
    assert (found.scores > 0.99).all()


@pytest.mark.parametrize('yaw', [-3.1, -2.0, -1.5, -0.5, 0.0, 0.7, 1.5, 1.65, 3.1])
def test_every_heading(yaw):
    car = torch.tensor([[*CAR[:6], yaw]])
    found = decode(perfect(targets_of(car, torch.tensor([0]))), GRID, (0.5,) * 3)[0]
    assert math.remainder(found.boxes[0, 6].item() - yaw, 2 * math.pi) == pytest.approx(
        0, abs=1e-5
    )
    assert -math.pi <= found.boxes[0, 6] <= math.pi


def test_objects_on_the_edge_and_off_the_map():
    rows = [
        [23.9, 9.9, 0, 4, 2, 1.5, 0.3],
        [0.05, -9.95, 0, 4, 2, 1.5, 0.3],
        [60, 0, 0, 4, 2, 1, 0],
    ]
    targets = targets_of(torch.tensor(rows, dtype=torch.float32), torch.zeros(3, dtype=torch.long))
    assert targets.num_objects == 2
    found = decode(perfect(targets), GRID, (0.5,) * 3)[0]
    assert len(found.boxes) == 2


def test_thresholds_are_by_class_and_neighbours_are_one():
    maps = perfect(targets_of(*EVERYTHING))
    assert decode(maps, GRID, (0.5, 1.0, 0.5))[0].labels.tolist().count(1) == 0
    heatmap = torch.full_like(maps.heatmap, -8.0)
    heatmap[0, 0, 20, 20], heatmap[0, 0, 20, 21], heatmap[0, 0, 20, 23] = 2.0, 1.0, 0.5
    size = torch.zeros_like(maps.log_size)
    small = maps._replace(heatmap=heatmap, log_size=size - 1, offset=torch.zeros_like(maps.offset))
    found = decode(small, GRID, (0.5,) * 3)[0]
    assert found.scores.tolist() == pytest.approx([0.8808, 0.6225], abs=1e-3)
    assert found.boxes[0, :2].tolist() == pytest.approx([10.25, 0.25])
    large = small._replace(log_size=size + 1.3)
    assert len(decode(large, GRID, (0.5,) * 3)[0].scores) == 1


def test_people_side_by_side_are_two_and_cells_of_one_person_are_one():
    heatmap = torch.full((1, 3, *GRID.shape), -8.0)
    heatmap[0, :, 20, 20], heatmap[0, :, 20, 21] = 2.0, 1.0
    zeros = [torch.zeros(1, count, *GRID.shape) for count in (2, 1, 3, 2, 1)]
    maps = DetectionMaps(heatmap, *zeros)
    beside = decode(maps._replace(log_size=maps.log_size - 0.6), GRID, (0.5,) * 3)[0]
    assert sorted(beside.labels.tolist()) == [0, 1, 1, 2]
    people = beside.boxes[beside.labels == 1]
    assert people[:, 0].tolist() == pytest.approx([10.25, 10.75])
    offset = torch.zeros_like(maps.offset)
    offset[0, 0, 20, 21] = -0.9  # both cells tell of one position
    same = decode(maps._replace(offset=offset), GRID, (0.5,) * 3)[0]
    assert sorted(same.labels.tolist()) == [0, 1, 2]


def test_cells_of_a_crowd_push_no_car_out_and_nonsense_no_person():
    grid = BevGrid((0, 80), (-40, 40), (-3, 1), 0.5)
    heatmap = torch.full((1, 3, 160, 160), -8.0)
    heatmap[0, 1, :30, :30] = 2.0
    heatmap[0, 0, 100, 100] = 0.5
    zeros = [torch.zeros(1, count, 160, 160) for count in (2, 1, 3, 2, 1)]
    crowd = DetectionMaps(heatmap, *zeros)
    assert decode(crowd, grid, (0.5,) * 3)[0].labels.tolist().count(0) == 1
    heatmap[0, 1, :30, :30] = torch.nan
    heatmap[0, 1, 50, 50] = 2.0
    assert decode(crowd, grid, (0.5,) * 3)[0].labels.tolist() == [1, 0]


def test_at_most_500_peaks_of_each_class_count():
    grid = BevGrid((0, 80), (-40, 40), (-3, 1), 0.5)
    heatmap = torch.full((1, 3, 160, 160), -8.0)
    heatmap[0, 0, ::4, ::4] = 1.0 + torch.rand(1600).view(40, 40)
    heatmap[0, 2, 100, 100] = 0.5
    zeros = [torch.zeros(1, count, 160, 160) for count in (2, 1, 3, 2, 1)]
    maps = DetectionMaps(heatmap, *zeros)
    assert decode(maps, grid, (0.95, 0.5, 0.5))[0].labels.tolist() == [2]
    found = decode(maps, grid, (0.5,) * 3)[0]
    assert found.labels.tolist() == [0] * 500 + [2]
    wanted = heatmap[0, 0].sigmoid().flatten().sort(descending=True).values[:500]
    assert torch.equal(found.scores[:500], wanted)


def test_equal_scores_are_in_the_order_of_classes_and_cells():
    maps = perfect(targets_of(*EVERYTHING))
    heatmap = torch.full_like(maps.heatmap, -8.0)
    heatmap[0, 1, 30, 5] = heatmap[0, 0, 30, 5] = heatmap[0, 0, 3, 40] = heatmap[0, 0, 3, 7] = 2.0
    maps = maps._replace(heatmap=heatmap, offset=torch.zeros_like(maps.offset))
    found = decode(maps, GRID, (0.5,) * 3)[0]
    assert found.labels.tolist() == [0, 0, 0, 1]
    assert found.boxes[:, 0].tolist() == [3.75, 20.25, 2.75, 2.75]


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_a_map_of_any_layout_and_size_has_the_peaks_of_max_pooling(layout):
    generator = torch.Generator().manual_seed(0)
    for size in ((1, 1), (1, 9), (9, 1), (40, 30)):
        maps = torch.randn(2, 12, *size, generator=generator).contiguous(memory_format=layout)
        selected = DetectionHead().select(DetectionMaps(*maps.split([3, 2, 1, 3, 2, 1], 1)))
        scores = maps[:, :3].sigmoid()
        peak = scores == max_pool2d(scores, 3, stride=1, padding=1)
        assert selected.shape == (2, 3, min(500, size[0] * size[1]), 11)
        people = selected[0, 1]
        assert (people[:, 0] > 0).all()  # each of their cells counts
        for frame, label in ((0, 0), (1, 2)):
            found = selected[frame, label]
            found = found[found[:, 0] > 0]
            cell = peak[frame, label].flatten().nonzero()[:, 0]
            assert found[:, 1].sort().values.tolist() == cell.tolist()
            values = maps[frame].flatten(1)[3:, found[:, 1].long()].t()
            assert torch.equal(found[:, 2:], values)


def test_nothing_and_nonsense():
    maps = perfect(targets_of(torch.empty(0, 7), torch.empty(0, dtype=torch.long)))
    found = decode(maps, GRID, (0.5,) * 3)[0]
    assert found.boxes.shape == (0, 7)
    wild = maps._replace(heatmap=maps.heatmap + 20, log_size=maps.log_size + 1e30)
    found = decode(wild, GRID, (0.5,) * 3)[0]
    assert found.boxes.isfinite().all()


def test_wrong_grid_and_thresholds_are_refused():
    maps = perfect(targets_of(*EVERYTHING))
    with pytest.raises(TinyBevError, match=r'maps are \(40, 48\) cells; expected \(40, 47\)'):
        decode(maps, BevGrid((0, 23.5), (-10, 10), (-3, 1), 0.5), (0.5,) * 3)
    with pytest.raises(TinyBevError, match='min_scores are 2; expected 3'):
        decode(maps, GRID, (0.5,) * 2)


def test_the_loss_is_least_for_exact_maps():
    targets = batch(targets_of(*EVERYTHING))
    right = perfect(targets_of(*EVERYTHING))
    least = sum(detection_loss(right, targets).values())
    assert least < 0.02
    for name in right._fields:
        worse = right._replace(**{name: -getattr(right, name) - 0.5})
        assert sum(detection_loss(worse, targets).values()) > least + 0.05, name


def test_ignored_objects_cost_nothing():
    boxes, labels = EVERYTHING
    ignored = torch.tensor([True, False, False])
    targets = batch(targets_of(boxes, labels, ignored))
    assert targets.num_objects == 2
    right = perfect(targets_of(boxes[1:], labels[1:]))
    before = detection_loss(right, targets)
    heatmap = right.heatmap.clone()
    col, row = int(CAR[0] / 0.5), int((CAR[1] + 10) / 0.5)
    heatmap[0, 0, row, col] = 8.0
    after = detection_loss(right._replace(heatmap=heatmap), targets)
    assert after['heatmap'] == before['heatmap']
    heatmap[0, 0, row + 8, col] = 8.0
    assert (
        detection_loss(right._replace(heatmap=heatmap), targets)['heatmap'] > before['heatmap'] + 1
    )


def test_loss_falls_and_reaches_every_parameter():
    torch.manual_seed(0)
    head = DetectionHead(in_channels=8, mid_channels=16)
    features = torch.randn(1, 8, *GRID.shape)
    targets = batch(targets_of(*EVERYTHING))
    optimizer = torch.optim.Adam(head.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        loss = sum(detection_loss(head(features), targets).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.2 * losses[0]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
    found = decode(head.eval()(features), GRID, (0.3,) * 3)[0]
    assert set(found.labels.tolist()) == set(range(len(CLASSES)))


def test_a_half_precision_loss_is_finite():
    head = DetectionHead(in_channels=8, mid_channels=16)
    with torch.autocast('cpu', torch.bfloat16):
        maps = head(torch.randn(1, 8, *GRID.shape))
    loss = sum(detection_loss(maps, batch(targets_of(*EVERYTHING))).values())
    loss.backward()
    assert loss.isfinite()
