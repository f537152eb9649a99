# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Samples and batches: crops of frames, with targets and with images."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba')

from dataclasses import replace

import numpy as np
import pytest
import torch

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.training.augment import Augmentation, mirror
from tiny_bev_ros.training.camera_dataset import CameraFrames, CameraSamples, make_camera_sample
from tiny_bev_ros.training.dataset import Crop, Crops, collate, make_sample, repeat_targets
from tiny_bev_ros.training.labelled_frame import MIN_POINTS
from tiny_bev_ros.training.simulated_camera import GRID, image_tensor, mirror_camera_frame
from tiny_bev_ros.training.simulated_lidar import Mountings, simulate_lidar_frame

CAMERA_CROP = Crop(size=32.0)


@pytest.fixture(scope='module')
def camera_frames(tmp_path_factory):
    return CameraFrames(tmp_path_factory.mktemp('frames'), range(3))


def test_a_sample_is_the_part_of_a_frame_on_a_grid():
    frame = simulate_lidar_frame(7, ('hdl64',))
    grid = BevGrid((0, 32), (-16, 16), (-3, 2), 0.25)
    sample = make_sample(frame, grid, 2)
    x, y, z, intensity = sample.points.T
    assert (x.min() >= 0, x.max() < 32, y.min() >= -16, y.max() < 16) == (True,) * 4
    assert z.min() >= -3
    assert (intensity == 0).all()
    assert frame.points[:, 3].any()  # the frame is left as it is
    assert sample.images is None
    targets = sample.targets['detection']
    assert targets.heatmap.shape == (3, 64, 64)
    required = (
        (frame.labels >= 0)
        & (frame.counts >= MIN_POINTS)
        & (frame.boxes[:, 0] > 0)
        & (frame.boxes[:, 0] < 32)
        & (np.abs(frame.boxes[:, 1]) < 16)
    )
    assert targets.num_objects == required.sum()
    assert required.sum() > 3
    # Just ahead of the sensor is road, and points lie on it.
    drivable, observed, known = sample.targets['drivable']
    assert (known == 1).all()
    assert drivable[32, 20] == 1
    assert observed[32, 20] == 1
    assert 0.05 < observed.mean() < 1


def test_boxes_that_are_not_exact_are_not_learnt():
    frame = simulate_lidar_frame(7, ('hdl64',))
    grid = BevGrid((0, 32), (-16, 16), (-3, 2), 0.25)
    exact, predicted = (
        make_sample(each, grid, 2, ['detection']).targets['detection']
        for each in (frame, mirror(replace(frame, exact_boxes=False)))
    )
    assert exact.box_mask.any()
    assert not predicted.box_mask.any()
    assert predicted.num_objects == exact.num_objects
    # The grid is symmetric.
    torch.testing.assert_close(predicted.heatmap, exact.heatmap.flip(1))
    crops = Crops(
        lambda _: replace(frame, exact_boxes=False),
        4,
        Crop(),
        0,
        Augmentation(),
        heads=['detection'],
    )
    samples = [sample for index in range(4) for sample in crops[index]]
    assert not any(sample.targets['detection'].box_mask.any() for sample in samples)


def test_crops_are_equal_in_every_run():
    crop = Crop(size=26.0)

    def crops():
        frame = lambda index: simulate_lidar_frame(index, ('vlp16',))  # noqa: E731
        return Crops(frame, 4, crop, 3, Augmentation())

    one, again = crops()[2], crops()[2]
    assert len(one) == 2
    for sample, other in zip(one, again, strict=True):
        assert (sample.points == other.points).all()
        assert (sample.targets['detection'].heatmap == other.targets['detection'].heatmap).all()
    assert len(one[0].points) != len(one[1].points)
    batch = collate([one, crops()[3]])
    assert batch.low.shape == (4, 2)
    assert batch.targets['detection'].heatmap.shape == (4, 3, 52, 52)
    assert batch.targets['drivable'].drivable.shape == (4, 52, 52)
    assert len(batch.points) == len(batch.cameras) == 4
    assert batch.images is None


@pytest.mark.parametrize('lidar', ['avia', 'hap', 'mid360'])
def test_no_crop_is_empty_where_sensors_look_ahead(lidar):
    frame = simulate_lidar_frame(4, (lidar,), Mountings(levelled=True))
    samples = Crops(lambda _: frame, 1, Crop(), 3, Augmentation(), per_frame=12)[0]
    assert min(len(sample.points) for sample in samples) > 100


def test_a_sample_with_an_image(camera_frames):
    assert CAMERA_CROP.ahead() == GRID
    sample = make_camera_sample(camera_frames[0], CAMERA_CROP)
    assert (sample.images == image_tensor(camera_frames[0].image)).all()
    batch = collate([[sample], [sample]])
    assert batch.images.shape == (2, 1, *sample.images.shape[1:])
    assert [len(each) for each in batch.cameras] == [1, 1]
    assert batch.low.tolist() == [[0, -16], [0, -16]]
    twice = repeat_targets(batch.targets, 2)['detection']
    for value, other in zip(twice, batch.targets['detection'], strict=True):
        assert torch.equal(value, torch.cat([other, other]))


def test_half_of_the_camera_samples_are_mirrored(camera_frames):
    samples = CameraSamples(camera_frames, 40, CAMERA_CROP, 5)
    again = CameraSamples(camera_frames, 40, CAMERA_CROP, 5)
    images = [image_tensor(frame.image) for frame in camera_frames]
    turned = [image_tensor(mirror_camera_frame(frame).image) for frame in camera_frames]
    plain = mirrored = 0
    for index in range(len(samples)):
        (sample,), (other,) = samples[index], again[index]
        assert torch.equal(sample.images, other.images)
        plain += any(torch.equal(sample.images[0], image) for image in images)
        mirrored += any(torch.equal(sample.images[0], image) for image in turned)
    assert plain + mirrored == 40
    assert 10 < mirrored < 30


def test_frames_are_kept_in_the_folder(camera_frames):
    made, kept = camera_frames[0], camera_frames[0]
    assert (made.image == kept.image).all()
    assert (made.lidar.points == kept.lidar.points).all()
    assert (made.lidar.instance_ids == kept.lidar.instance_ids).all()
    assert made.dark == kept.dark
