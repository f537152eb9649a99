# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Crops of clouds near boxes: the compiled way, the plain way and the definition agree."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tiny_bev_ros.inference import point_crops
from tiny_bev_ros.inference.numba_support import numba_unavailable_reason
from tiny_bev_ros.inference.point_crops import box_frames, crop_points, sample_indices
from tiny_bev_ros.models.heads.box_crops import CROP, crop_axes

needs_numba = pytest.mark.skipif(
    bool(numba_unavailable_reason()), reason=numba_unavailable_reason()
)


def cloud(count: int = 20_000, values: int = 4) -> np.ndarray:
    random = np.random.default_rng(0)
    points = random.uniform(-30, 30, (count, values))
    points[: count // 2, :2] /= 6  # dense near the sensor
    points[:, 2] = random.uniform(-2.5, 1.5, count)
    return points.astype(np.float32)


def some_boxes(count: int = 40) -> torch.Tensor:
    random = torch.Generator().manual_seed(1)
    low = torch.tensor([-28.0, -28.0, -1.5, 0.5, 0.4, 1.0, -math.pi])
    high = torch.tensor([28.0, 28.0, 0.5, 12.0, 2.6, 3.0, math.pi])
    return low + (high - low) * torch.rand(count, 7, generator=random)


def test_crops_are_the_points_around_the_boxes():
    points, boxes = cloud(), some_boxes()
    everything = CROP._replace(object_points=len(points), surrounding_points=len(points))
    crops = crop_points(points, boxes, everything)
    begin = 0
    for box, axes, count in zip(boxes, crop_axes(boxes), crops.counts.tolist(), strict=True):
        offset = torch.from_numpy(points[:, :3]) - box[:3]
        local = torch.cat([offset[:, :2] @ axes.T, offset[:, 2:] + box[5] / 2], 1)
        half = box[3:6] / 2
        beyond = local[:, :2].abs() - half[:2]
        near = (beyond < CROP.margin).all(1) & (offset[:, 2].abs() < half[2] + CROP.height_margin)
        on_object = (beyond < CROP.object_margin).all(1) & (local[:, 2] > CROP.object_floor)
        found = crops.points[begin : begin + count]
        begin += count
        assert abs(int(near.sum()) - count) <= 1  # a point on an edge may be rounded
        if int(near.sum()) == count:
            wanted = torch.cat([local[near & on_object], local[near & ~on_object]])
            torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    assert begin == len(crops.points) > 1000


@needs_numba
@pytest.mark.parametrize('sizes', [(1, 0), (64, 24), (0, 160)])
def test_both_ways_are_equal(sizes: tuple[int, int]):
    shape = CROP._replace(object_points=sizes[0], surrounding_points=sizes[1])
    points, frames = cloud(), box_frames(some_boxes(), shape)
    compiled = point_crops._compiled_crop(points, frames, shape)
    plain = point_crops._plain_crop(points, frames, shape)
    for found, wanted in zip(compiled, plain, strict=True):
        assert np.array_equal(found, wanted)
    assert compiled[1].max() == sum(sizes)


def test_points_on_the_ground_leave_room_for_those_of_an_object():
    random = np.random.default_rng(2)
    ground = np.concatenate([random.uniform(-1.2, 1.2, (5000, 2)), np.zeros((5000, 1))], 1)
    person = random.uniform([-0.2, -0.2, 0.3], [0.2, 0.2, 1.7], (200, 3))
    points = np.concatenate([ground, person]) + np.array([8, 0, 0])
    box = torch.tensor([[8.0, 0, 0.9, 0.6, 0.6, 1.8, 0]])
    crops = crop_points(points.astype(np.float32), box)
    assert int((crops.points[:, 2] > 0.2).sum()) == CROP.object_points
    assert crops.counts.tolist() == [CROP.object_points + CROP.surrounding_points]


def test_where_numba_is_missing_the_plain_way_is_taken(monkeypatch: pytest.MonkeyPatch):
    wanted = crop_points(cloud(), some_boxes())
    monkeypatch.setattr(point_crops, 'numba_unavailable_reason', lambda: 'numba is missing')
    monkeypatch.delattr(point_crops, '_compiled_crop')
    found = crop_points(cloud(), some_boxes())
    assert torch.equal(found.points, wanted.points)
    assert torch.equal(found.counts, wanted.counts)


@pytest.mark.parametrize('count', [0, 5, 64, 65, 5000])
def test_a_sample_holds_each_point_once_and_from_everywhere(count: int):
    chosen = sample_indices(count, 64)
    assert len(set(chosen.tolist())) == len(chosen) == min(count, 64)
    if count == 5000:
        quarters = np.bincount(chosen // 1250, minlength=4)
        assert quarters.min() >= 6  # 16 are expected of 64


def test_further_values_and_strides_of_points_change_nothing():
    wanted = crop_points(cloud(), some_boxes())
    wide = np.zeros((20_000, 7), np.float32)
    wide[:, :4] = cloud()
    for points in (wide, wide[:, :5], np.asfortranarray(cloud())):
        assert torch.equal(crop_points(points, some_boxes()).points, wanted.points)


@pytest.mark.parametrize('value', [math.nan, math.inf, 1e30])
def test_boxes_without_a_meaning_have_no_points_and_spoil_no_others(value: float):
    boxes = some_boxes()
    wanted = crop_points(cloud(), boxes)
    broken = torch.cat([boxes, torch.full((1, 7), value)])
    crops = crop_points(cloud(), broken)
    assert torch.equal(crops.counts[:-1], wanted.counts)
    if not math.isfinite(value):
        assert crops.counts[-1] == 0
        assert torch.equal(crops.points, wanted.points)


def test_no_points_and_no_boxes():
    assert crop_points(np.empty((0, 4), np.float32), some_boxes()).counts.sum() == 0
    crops = crop_points(cloud(), torch.empty(0, 7))
    assert crops.points.shape == (0, 3)
    assert crops.counts.shape == (0,)
