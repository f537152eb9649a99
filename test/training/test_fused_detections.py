# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Detections of several passes and of successive clouds: fusion, agreement, recurrence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tiny_bev_ros.models.heads.box_ops import corners_bev
from tiny_bev_ros.training.fused_detections import (
    FLIPS,
    flip_boxes,
    fuse,
    match,
    recurring,
)

VEHICLE, PEDESTRIAN = 0, 1


def box(x, y, yaw=0.0, length=4.0, width=2.0):
    return [x, y, -1.0, length, width, 1.5, yaw]


def one_pass(*boxes, scores=None, labels=None):
    values = np.array(boxes, np.float32).reshape(-1, 7)
    scores = np.full(len(values), 0.8, np.float32) if scores is None else np.float32(scores)
    labels = np.zeros(len(values), np.int64) if labels is None else np.array(labels, np.int64)
    return values, scores, labels


def detections(*boxes, labels=None):
    return fuse([one_pass(*boxes, labels=labels)])


@pytest.mark.parametrize('flip', FLIPS)
def test_flipped_boxes_have_flipped_corners(flip):
    boxes = np.array([box(3, -2, 0.4), box(-5, 1, -2.5)], np.float32)
    flipped = flip_boxes(boxes, flip)
    corners = corners_bev(torch.from_numpy(boxes)).numpy() * flip
    for expected, found in zip(
        corners, corners_bev(torch.from_numpy(flipped)).numpy(), strict=True
    ):
        np.testing.assert_allclose(np.sort(expected[:, 0]), np.sort(found[:, 0]), atol=1e-5)
        np.testing.assert_allclose(np.sort(expected[:, 1]), np.sort(found[:, 1]), atol=1e-5)
    np.testing.assert_allclose(flip_boxes(flipped, flip), boxes, atol=1e-5)


def test_passes_that_agree_make_one_object():
    fused = fuse(
        [
            one_pass(box(10, 0, 0.1), scores=[0.9]),
            one_pass(box(10.4, 0.2, 0.3), scores=[0.9]),
            one_pass(box(10.2, 0.1, 0.2), scores=[0.9]),
            one_pass(),
        ]
    )
    np.testing.assert_allclose(fused.boxes, [box(10.2, 0.1, 0.2)], atol=1e-4)
    assert fused.scores.tolist() == pytest.approx([0.675])
    assert fused.agreement.tolist() == [0.75]


def test_boxes_are_averaged_by_their_scores():
    fused = fuse([one_pass(box(0, 0), scores=[0.9]), one_pass(box(1, 0), scores=[0.3])])
    assert fused.boxes[0, 0] == pytest.approx(0.25)


def test_of_opposite_headings_the_likelier_stays():
    fused = fuse(
        [
            one_pass(box(5, 5, np.pi - 0.05), scores=[0.6]),
            one_pass(box(5, 5, -np.pi + 0.05), scores=[0.6]),
            one_pass(box(5, 5, 0.0), scores=[0.7]),
        ]
    )
    assert abs(fused.boxes[0, 6]) == pytest.approx(np.pi, abs=0.02)


def test_other_classes_and_other_objects_stay_apart():
    both = one_pass(box(0, 0), box(0.2, 0), labels=[VEHICLE, PEDESTRIAN])
    fused = fuse([both, both])
    assert sorted(fused.labels.tolist()) == [VEHICLE, PEDESTRIAN]
    # Two objects of one pass are never merged, however near.
    crowd = one_pass(box(0, 0), box(0.3, 0), labels=[PEDESTRIAN, PEDESTRIAN])
    fused = fuse([crowd, crowd])
    assert fused.agreement.tolist() == [1, 1]
    assert sorted(fused.boxes[:, 0].round(2).tolist()) == pytest.approx([0.0, 0.3])


def test_without_detections_nothing_is_fused():
    fused = fuse([one_pass(), one_pass()])
    assert fused.boxes.shape == (0, 7)
    assert fused.labels.shape == (0,)


def test_objects_in_steady_motion_recur():
    before, now, after = (detections(box(10 + step, 0)) for step in (0.0, 2.0, 4.1))
    assert recurring(now, before, after).tolist() == [True]


@pytest.mark.parametrize('x', [-1.9, 7.0])
def test_objects_that_jump_do_not_recur(x):
    before, now, after = (detections(box(value, 0)) for value in (0.0, 2.0, x))
    assert recurring(now, before, after).tolist() == [False]


def test_objects_of_one_cloud_alone_do_not_recur():
    empty = detections()
    now = detections(box(5, 0), box(9, 0))
    assert recurring(now, empty, detections(box(5, 0))).tolist() == [False, False]
    assert recurring(now, None, detections(box(5.5, 0))).tolist() == [True, True]
    assert recurring(now, None, detections(box(5.5, 20))).tolist() == [False, False]
    assert recurring(now, None, detections(box(5, 0), labels=[PEDESTRIAN])).tolist() == [False] * 2
    assert recurring(now, None, None).tolist() == [True, True]


def test_objects_are_matched_once():
    first = detections(box(0, 0), box(1, 0), box(30, 0))
    second = detections(box(0.9, 0), box(60, 0))
    assert sorted(match(first, second).tolist()) == [-1, -1, 0]
    assert match(first, detections()).tolist() == [-1, -1, -1]
    assert match(detections(), first).tolist() == []
