# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Augmentation: points, boxes and road change together, within the limits."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba')

from dataclasses import fields, replace

import numpy as np
import pytest

from tiny_bev_ros.training.augment import (
    Augmentation,
    augment,
    choose_heading,
    mirror,
    transform,
)
from tiny_bev_ros.training.labelled_frame import in_box
from tiny_bev_ros.training.simulated_lidar import simulate_lidar_frame


@pytest.fixture(scope='module')
def frame():
    return simulate_lidar_frame(7, ('hdl64',))


def fraction_inside(frame):
    """Fraction of the objects' points that lie in their boxes, up to noise."""
    inside = [
        in_box(box, frame.points[frame.instance_ids == index], 0.05)
        for index, box in enumerate(frame.boxes)
    ]
    return np.concatenate(inside).mean()


def test_points_of_objects_lie_in_their_boxes(frame):
    # Mirrors stick out.
    assert fraction_inside(frame) > 0.95


@pytest.mark.parametrize(
    'change',
    [
        lambda frame: transform(frame, 0.7),
        lambda frame: transform(frame, -2.0, scale=1.07, z_shift=0.3),
        mirror,
        lambda frame: mirror(transform(frame, 0.4, scale=0.93)),
    ],
)
def test_points_boxes_and_road_change_together(frame, change):
    other = change(frame)
    assert fraction_inside(other) == pytest.approx(fraction_inside(frame), abs=0.02)
    assert len(other.points) == len(frame.points)
    # The road under a point on the ground stays.
    some = np.random.default_rng(0).integers(0, len(frame.points), 2000)
    before = frame.road.drivable_at(*frame.points[some, :2].T)
    after = other.road.drivable_at(*other.points[some, :2].T)
    assert (before == after).mean() > 0.99
    assert 0.1 < before.mean() < 0.95


def test_headings_follow(frame):
    other = transform(frame, 0.5)
    change = (other.boxes[:, 6] - frame.boxes[:, 6] - 0.5 + np.pi) % (2 * np.pi) - np.pi
    np.testing.assert_allclose(change, 0, atol=1e-5)
    np.testing.assert_allclose(mirror(frame).boxes[:, 6], -frame.boxes[:, 6])
    size = transform(frame, 0, scale=1.05).boxes[:, 3:6] / frame.boxes[:, 3:6]
    np.testing.assert_allclose(size, 1.05, rtol=1e-5)


def headings(frame, any_angle, count=60):
    """Returns the angles by which frames were rotated, in degrees from 0 to 360."""
    random = np.random.default_rng(0)
    small = replace(frame, points=np.array([[1, 0, 0, 0]], np.float32), road=None)
    others = [choose_heading(small, random, any_angle).points[0] for _ in range(count)]
    return np.degrees([np.arctan2(point[1], point[0]) for point in others]) % 360


def test_whole_frames_are_rotated_by_any_angle_as_often_as_asked(frame):
    along = np.isin(headings(frame, 0.0).round(), [0, 180, 360])
    assert along.all()
    fraction = 1 - np.isin(headings(frame, 0.6, 400).round(), [0, 180, 360]).mean()
    assert fraction == pytest.approx(0.6, abs=0.08)
    counts, _ = np.histogram(headings(frame, 1.0, 400), 8, (0, 360))
    assert counts.min() > 25


def test_frames_that_are_not_whole_keep_their_heading(frame):
    assert (headings(replace(frame, whole=False), 1.0) == 0).all()


def limits(**values):
    """An augmentation that changes nothing but the given values."""
    names = [field.name for field in fields(Augmentation)]
    return Augmentation(**{**dict.fromkeys(names, 0.0), **values})


def test_augmentation_keeps_its_limits(frame):
    least = 1.0
    for seed in range(10):
        random = np.random.default_rng(seed)
        other = augment(frame, random, limits(rotation=0.1, point_dropout=0.4))
        least = min(least, len(other.points) / len(frame.points))
        assert len(other.points) >= 0.58 * len(frame.points)
        assert (other.counts >= 0).all()
        assert (other.counts <= frame.counts).all()
    assert least < 0.95


def test_a_view_crop_removes_points_and_their_counts(frame):
    other = augment(frame, np.random.default_rng(0), limits(view_crop=1))
    assert np.abs(np.arctan2(other.points[:, 1], other.points[:, 0])).max() < 0.9
    behind = other.boxes[:, 0] < -5
    assert behind.any()
    assert (other.counts[behind] == 0).all()


def test_part_dropout_removes_points_and_their_counts(frame):
    other = augment(frame, np.random.default_rng(0), limits(part_dropout=1))
    large = frame.counts > 100
    assert (other.counts[large] < frame.counts[large]).mean() > 0.7


def test_in_box_turns_with_the_box():
    box = np.array([1.0, 2.0, 0.0, 4.0, 1.0, 2.0, np.pi / 2])
    points = np.array([[1, 3.9, 0], [2.9, 2, 0], [1, 2, 1.1], [1.4, 0.1, -0.9]], np.float32)
    assert in_box(box, points).tolist() == [True, False, False, True]
    assert in_box(box, points, margin=0.2).tolist() == [True, False, True, True]
