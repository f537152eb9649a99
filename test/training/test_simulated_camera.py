# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Simulated frames with images: cloud and image show equal objects at equal positions."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba')

import numpy as np
import pytest
import torch

from tiny_bev_ros.training.simulated_camera import (
    CLASSES,
    GRID,
    PINHOLE,
    image_tensor,
    mirror_camera_frame,
    simulate_camera_frame,
    simulated_camera,
)

SEEDS = range(12)


@pytest.fixture(scope='module')
def frames():
    return [simulate_camera_frame(seed) for seed in SEEDS]


def test_equal_seeds_give_equal_frames(frames):
    again = simulate_camera_frame(2)
    assert (again.image == frames[2].image).all()
    assert (again.lidar.points == frames[2].lidar.points).all()
    assert (again.lidar.labels == frames[2].lidar.labels).all()


def test_clouds_lie_on_the_grid_and_have_no_intensity(frames):
    for frame in frames:
        x, y, _, intensity = frame.lidar.points.T
        assert x.min() >= GRID.x_range[0]
        assert x.max() < GRID.x_range[1]
        assert y.min() >= GRID.y_range[0]
        assert y.max() < GRID.y_range[1]
        assert not intensity.any()


def warning_pixels(frame, label):
    """Pixels on points of near objects of a class: true for those of the warning colour."""
    cloud, warning = frame.lidar, []
    for index in np.nonzero((cloud.labels == label) & (cloud.counts > 40))[0]:
        points = torch.from_numpy(cloud.points[cloud.instance_ids == index, :3].copy())
        pixels, _ = simulated_camera().project(points[simulated_camera().visible(points)])
        col, row = pixels.round().long().clamp(min=0).T
        size = torch.tensor(PINHOLE.size) - 1
        colours = frame.image[row.clamp(max=size[1]), col.clamp(max=size[0])].astype(float)
        red, green, blue = colours.T
        warning += list((red > 1.4 * green) & (green > 3 * blue))
    return warning


def test_marked_vehicles_have_the_warning_colour_at_their_points(frames):
    lit = [frame for frame in frames if not frame.dark]
    marked = np.concatenate([warning_pixels(frame, 2) for frame in lit])
    plain = np.concatenate([warning_pixels(frame, 0) for frame in lit])
    assert min(len(marked), len(plain)) > 500
    assert marked.mean() > 0.4
    assert plain.mean() < 0.05


def test_some_images_are_dark(frames):
    dark = [frame.image.mean() for frame in frames if frame.dark]
    lit = [frame.image.mean() for frame in frames if not frame.dark]
    assert 0 < len(dark) < len(lit)
    assert max(dark) < 10 < 40 < min(lit)


def test_nothing_is_visible_in_a_dark_image_by_the_mean_of_many_pixels_either(frames):
    for image in (frame.image for frame in frames if frame.dark):
        sky, road = image[:25].mean(axis=(0, 1)), image[-25:].mean(axis=(0, 1))
        np.testing.assert_allclose(sky, road, atol=0.6)


def test_every_class_occurs(frames):
    labels = np.concatenate([frame.lidar.labels for frame in frames])
    assert set(labels) <= {-1, *range(len(CLASSES))}
    fractions = np.bincount(labels[labels >= 0]) / (labels >= 0).sum()
    assert fractions.min() > 0.1


def test_mirrored_points_still_fall_on_their_pixels(frames):
    frame = next(each for each in frames if not each.dark)
    other = mirror_camera_frame(frame)
    assert (mirror_camera_frame(other).image == frame.image).all()
    points = torch.from_numpy(frame.lidar.points[:, :3].copy())
    mirrored = torch.from_numpy(other.lidar.points[:, :3].copy())
    camera = simulated_camera()
    inside = camera.visible(points)
    pixels, _ = camera.project(points[inside])
    mirrored_pixels, _ = camera.project(mirrored[inside])
    expected = torch.stack([PINHOLE.size[0] - 1 - pixels[:, 0], pixels[:, 1]], dim=1)
    torch.testing.assert_close(mirrored_pixels, expected, atol=1e-3, rtol=0)


def test_image_tensor():
    image = image_tensor(np.full((2, 3, 3), 255, np.uint8))
    assert image.shape == (3, 2, 3)
    assert (image == 1).all()
