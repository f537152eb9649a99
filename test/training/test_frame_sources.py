# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Frames of a run: levelled clouds of a folder, mixed with simulated ones."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba', 'safetensors')

import pickle

import numpy as np
import pytest
from ground_cloud import MID360_LIKE, ground_cloud

from tiny_bev_ros.models.sensor_mounting import NOMINAL_HEIGHT
from tiny_bev_ros.training import frame_sources, train
from tiny_bev_ros.training.frame_sources import FrameSource, frame_source
from tiny_bev_ros.training.kitti import KittiFolder, write_kitti_frame
from tiny_bev_ros.training.labelled_frame import Frame, instance_ids
from tiny_bev_ros.training.simulated_lidar import Mountings
from tiny_bev_ros.training.training_config import ModelConfig, TrainConfig

FRAMES = 5


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Folder of a sensor at 0.5 m, with a car behind it."""
    path = tmp_path_factory.mktemp('kitti')
    for seed in range(FRAMES):
        points = ground_cloud(0.5, elevations=MID360_LIKE, kerb=False, seed=seed)
        boxes = np.array([[-8.0, 1.0, 0.25, 4.2, 1.8, 1.5, 0.3]], np.float32)
        car = np.random.default_rng(seed).uniform(-0.5, 0.5, (60, 3)) * (2, 1, 1)
        points = np.concatenate([points, np.pad(car + boxes[0, :3], ((0, 0), (0, 1)))])
        frame = Frame(points, instance_ids(boxes, points), boxes, np.zeros(1, np.int64))
        write_kitti_frame(path, f'{seed:06d}', frame)
    return path


def config(folder, levelled=True, **changes):
    network = ModelConfig(heads=('detection',))
    mountings = Mountings(levelled=levelled)
    return TrainConfig(data=str(folder), mountings=mountings, network=network, **changes)


def test_clouds_and_boxes_of_a_folder_are_levelled(folder):
    source = frame_source(config(folder))
    (line,) = source.remarks
    assert 'the sensor is 0.50 m above the ground, corrected for -1.2' in line
    unlevelled = frame_source(config(folder, levelled=False))
    assert unlevelled.remarks == ()
    frame, raw = source(0), unlevelled(0)
    lift = 0.5 - NOMINAL_HEIGHT
    np.testing.assert_allclose(frame.points[:, 2], raw.points[:, 2] + lift, atol=0.05)
    np.testing.assert_allclose(frame.boxes[:, 2], [0.25 + lift], atol=0.05)
    np.testing.assert_allclose(raw.boxes, [[-8.0, 1.0, 0.25, 4.2, 1.8, 1.5, 0.3]], atol=1e-3)
    assert frame.counts.tolist() == raw.counts.tolist()


def test_clouds_without_ground_are_named(folder, monkeypatch):
    def above(self, name: str) -> np.ndarray:
        return np.array([[5.0, 0.0, 9.0, 0.0]], np.float32)

    monkeypatch.setattr(KittiFolder, 'points', above)
    source = frame_source(config(folder))
    assert source.remarks == ('clouds are not levelled, as no ground is found in them',)


def test_train_prints_the_remarks(tmp_path, monkeypatch, capsys):
    source = FrameSource(lambda index: None, ('one', 'two'))
    monkeypatch.setattr(train, 'frame_source', lambda config: source)
    train.make_dataset(TrainConfig(), 1, tmp_path)
    assert capsys.readouterr().err == 'train: one\ntrain: two\n'


def test_each_epoch_has_every_frame_once(folder, monkeypatch):
    monkeypatch.setattr(KittiFolder, 'frame', lambda self, name: name)
    source = frame_source(config(folder, levelled=False))
    names = [f'{seed:06d}' for seed in range(FRAMES)]
    epochs = [[source(FRAMES * epoch + i) for i in range(FRAMES)] for epoch in range(3)]
    assert [sorted(epoch) for epoch in epochs] == [names] * 3
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize('fraction', [0.5, 0.25, 0.33])
def test_simulated_frames_are_mixed_in(folder, fraction, monkeypatch):
    calls = {'r': [], 's': []}
    monkeypatch.setattr(frame_sources, '_recorded', lambda i, **_: calls['r'].append(i) or 'r')
    monkeypatch.setattr(frame_sources, '_simulated', lambda i, **_: calls['s'].append(i) or 's')
    source = frame_source(config(folder, simulated_fraction=fraction))
    kinds = [source(index) for index in range(120)]
    for block in range(3):
        assert kinds[40 * block : 40 * block + 40].count('s') in {13, 14, 40 * fraction}
    # None is left out, none comes twice.
    assert kinds.count('s') == int(120 * fraction)
    for kind, numbers in calls.items():
        assert sorted(numbers) == list(range(kinds.count(kind)))
    for step in (2, 4):  # processes that share the frames have both kinds
        assert all(set(kinds[first::step]) == {'r', 's'} for first in range(step))


def test_a_source_can_be_pickled(folder):
    source = frame_source(config(folder, simulated_fraction=0.5))
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(again(0).points, source(0).points)
