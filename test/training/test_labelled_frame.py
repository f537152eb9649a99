# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from optional_packages import require_packages

require_packages('numba')

import numpy as np
import pytest

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.sim import LIDARS
from tiny_bev_ros.training.dataset import FEWEST_POINTS, Crop, Crops, collate, make_sample
from tiny_bev_ros.training.labelled_frame import (
    Augmentation,
    in_box,
    mirrored,
    owners,
    turned,
    varied,
)
from tiny_bev_ros.training.simulated import simulated


@pytest.fixture(scope='module')
def frame():
    return simulated(7, ('hdl64',))


def share_inside(frame):
    """Part of the objects' points that still lie in their boxes."""
    seen = frame.owner >= 0
    return (owners(frame.boxes, frame.points)[seen] == frame.owner[seen]).mean()


def test_a_simulated_frame_is_its_seed(frame):
    again = simulated(7, ('hdl64',))
    np.testing.assert_array_equal(frame.points, again.points)
    np.testing.assert_array_equal(frame.boxes, again.boxes)
    assert frame.whole
    assert len(frame.labels) == len(frame.boxes) == len(frame.counts)
    assert len(frame.owner) == len(frame.points)
    # Mirrors stick out, and noise throws points of a side out of it.
    assert share_inside(frame) > 0.8


def test_lidars_are_drawn():
    assert len({len(simulated(seed, tuple(LIDARS)).points) for seed in range(4)}) == 4


@pytest.mark.parametrize(
    'change',
    [
        lambda frame: turned(frame, 0.7),
        lambda frame: turned(frame, -2.0, scale=1.07, lift=0.3),
        mirrored,
        lambda frame: mirrored(turned(frame, 0.4, scale=0.93)),
    ],
)
def test_points_boxes_and_road_change_together(frame, change):
    other = change(frame)
    assert share_inside(other) == pytest.approx(share_inside(frame), abs=0.02)
    assert len(other.points) == len(frame.points)
    # Where points of the ground lie, the road is what it was.
    some = np.random.default_rng(0).integers(0, len(frame.points), 2000)
    before = frame.road.at(*frame.points[some, :2].T)
    after = other.road.at(*other.points[some, :2].T)
    assert (before == after).mean() > 0.99
    assert 0.1 < before.mean() < 0.95


def test_headings_follow(frame):
    other = turned(frame, 0.5)
    turn = (other.boxes[:, 6] - frame.boxes[:, 6] - 0.5 + np.pi) % (2 * np.pi) - np.pi
    np.testing.assert_allclose(turn, 0, atol=1e-5)
    np.testing.assert_allclose(mirrored(frame).boxes[:, 6], -frame.boxes[:, 6])
    size = turned(frame, 0, scale=1.05).boxes[:, 3:6] / frame.boxes[:, 3:6]
    np.testing.assert_allclose(size, 1.05, rtol=1e-5)


def test_variation_keeps_its_limits(frame):
    much = Augmentation(turn=0.1, scale=0.0, lift=0.0, drop=0.4, slab=0.0, view=0.0)
    fewest = 1.0
    for seed in range(10):
        other = varied(frame, np.random.default_rng(seed), much)
        fewest = min(fewest, len(other.points) / len(frame.points))
        assert len(other.points) >= 0.58 * len(frame.points)
        assert (other.counts >= 0).all()
        assert (other.counts <= frame.counts).all()
    assert fewest < 0.95


def test_a_view_and_slabs_take_points_and_their_counts(frame):
    view = Augmentation(turn=0, scale=0, lift=0, drop=0, slab=0, view=1)
    other = varied(frame, np.random.default_rng(0), view)
    assert np.abs(np.arctan2(other.points[:, 1], other.points[:, 0])).max() < 0.9
    behind = other.boxes[:, 0] < -5
    assert behind.any()
    assert (other.counts[behind] == 0).all()
    slab = Augmentation(turn=0, scale=0, lift=0, drop=0, slab=1, view=0)
    other = varied(frame, np.random.default_rng(0), slab)
    large = frame.counts > 100
    assert (other.counts[large] < frame.counts[large]).mean() > 0.7


def test_in_box_turns_with_it():
    box = np.array([1.0, 2.0, 0.0, 4.0, 1.0, 2.0, np.pi / 2])
    points = np.array([[1, 3.9, 0], [2.9, 2, 0], [1, 2, 1.1], [1.4, 0.1, -0.9]], np.float32)
    assert in_box(box, points).tolist() == [True, False, False, True]
    assert in_box(box, points, margin=0.2).tolist() == [True, False, True, True]


def test_a_sample_is_a_piece_of_the_frame(frame):
    grid = BevGrid((0, 32), (-16, 16), (-3, 2), 0.25)
    sample = make_sample(frame, grid, 2)
    x, y, z, intensity = sample.points.T
    assert (x.min() >= 0, x.max() < 32, y.min() >= -16, y.max() < 16) == (True,) * 4
    assert z.min() >= -3
    assert (intensity == 0).all()
    assert sample.targets.heat.shape == (3, 64, 64)
    asked = (
        (frame.counts >= FEWEST_POINTS)
        & (frame.boxes[:, 0] > 0)
        & (frame.boxes[:, 0] < 32)
        & (np.abs(frame.boxes[:, 1]) < 16)
    )
    assert sample.targets.objects == asked.sum()
    assert asked.sum() > 3
    # Just ahead of the sensor is road, and it was looked at.
    assert sample.drivable[32, 20] == 1
    assert sample.seen[32, 20] == 1
    assert 0.05 < sample.seen.mean() < 1


def test_pieces_are_the_same_in_every_run():
    piece = Crop(size=26.0)

    def pieces():
        return Crops(lambda index: simulated(index, ('vlp16',)), 4, piece, 3, Augmentation())

    one, again = pieces()[2], pieces()[2]
    assert len(one) == 2
    for sample, other in zip(one, again, strict=True):
        assert (sample.points == other.points).all()
        assert (sample.targets.heat == other.targets.heat).all()
    assert len(one[0].points) != len(one[1].points)
    batch = collate([one, pieces()[3]])
    assert batch.low.shape == (4, 2)
    assert batch.targets.heat.shape == (4, 3, 52, 52)
    assert batch.drivable.shape == (4, 52, 52)
    assert len(batch.points) == 4
