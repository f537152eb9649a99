# SPDX-License-Identifier: Apache-2.0
"""Frames with pictures: cloud and image show the same things, in the same places."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba')

import numpy as np
import pytest
import torch

from tiny_bev_ros.training.simulated_camera import (
    CLASSES,
    EYE,
    GRID,
    as_input,
    camera,
    mirrored,
    sighted,
)

SEEDS = range(12)


@pytest.fixture(scope='module')
def sights():
    return [sighted(seed) for seed in SEEDS]


def test_the_same_seed_gives_the_same_frame(sights):
    again = sighted(2)
    assert (again.image == sights[2].image).all()
    assert (again.frame.points == sights[2].frame.points).all()
    assert (again.frame.labels == sights[2].frame.labels).all()


def test_clouds_are_of_the_map_and_without_intensity(sights):
    for sight in sights:
        x, y, _, intensity = sight.frame.points.T
        assert x.min() >= GRID.x_range[0]
        assert x.max() < GRID.x_range[1]
        assert y.min() >= GRID.y_range[0]
        assert y.max() < GRID.y_range[1]
        assert not intensity.any()


def marked_share(sight, label):
    """Part of the pixels on points of near objects of a class that have the warning colour."""
    frame, warning = sight.frame, []
    for index in np.nonzero((frame.labels == label) & (frame.counts > 40))[0]:
        points = torch.from_numpy(frame.points[frame.owner == index, :3].copy())
        pixels, _ = camera().project(points[camera().sees(points)])
        col, row = pixels.round().long().clamp(min=0).T
        size = torch.tensor(EYE.size) - 1
        seen = sight.image[row.clamp(max=size[1]), col.clamp(max=size[0])].astype(float)
        warning += list((seen[:, 0] > 1.4 * seen[:, 1]) & (seen[:, 1] > 3 * seen[:, 2]))
    return warning


def test_what_is_marked_looks_so_where_its_points_are(sights):
    lit = [sight for sight in sights if not sight.dark]
    marked = np.concatenate([marked_share(sight, 2) for sight in lit])
    plain = np.concatenate([marked_share(sight, 0) for sight in lit])
    assert min(len(marked), len(plain)) > 500
    assert marked.mean() > 0.4
    assert plain.mean() < 0.05


def test_some_pictures_are_dark(sights):
    dark = [sight.image.mean() for sight in sights if sight.dark]
    lit = [sight.image.mean() for sight in sights if not sight.dark]
    assert 0 < len(dark) < len(lit)
    assert max(dark) < 10 < 40 < min(lit)


def test_a_dark_picture_tells_nothing_by_the_mean_of_many_pixels_either(sights):
    for image in (sight.image for sight in sights if sight.dark):
        sky, road = image[:25].mean(axis=(0, 1)), image[-25:].mean(axis=(0, 1))
        np.testing.assert_allclose(sky, road, atol=0.6)


def test_every_class_is_there(sights):
    labels = np.concatenate([sight.frame.labels for sight in sights])
    assert set(labels) <= {-1, *range(len(CLASSES))}
    share = np.bincount(labels[labels >= 0]) / (labels >= 0).sum()
    assert share.min() > 0.1


def test_mirrored_points_still_fall_on_their_pixels(sights):
    sight = next(each for each in sights if not each.dark)
    other = mirrored(sight)
    assert (mirrored(other).image == sight.image).all()
    points = torch.from_numpy(sight.frame.points[:, :3].copy())
    turned = torch.from_numpy(other.frame.points[:, :3].copy())
    seen = camera().sees(points)
    at, there = camera().project(points[seen])[0], camera().project(turned[seen])[0]
    torch.testing.assert_close(EYE.size[0] - 1 - there[:, 0], at[:, 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(there[:, 1], at[:, 1], atol=1e-3, rtol=0)


def test_as_input():
    image = as_input(np.full((2, 3, 3), 255, np.uint8))
    assert image.shape == (3, 2, 3)
    assert (image == 1).all()
