# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Modes of the ablation: their inputs, their features, and that they learn."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba', 'safetensors')

import csv

import numpy as np
import pytest
import torch
from small_ablation import small_config

from experiments.ablation_modes import (
    MODES,
    ClassAP,
    ModeDetector,
    detect,
    make_batch,
    train,
)
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.bev_detector import BevDetector
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.training import trainer
from tiny_bev_ros.training.camera_dataset import CameraFrames
from tiny_bev_ros.training.labelled_frame import Frame
from tiny_bev_ros.training.simulated_camera import GRID


@pytest.fixture(scope='module')
def frames(tmp_path_factory):
    return CameraFrames(tmp_path_factory.mktemp('frames'), range(6))


def test_inputs_of_each_mode(frames):
    lidar, camera, fused = (make_batch(frames[0], mode) for mode in MODES)
    assert len(camera.points[0]) == 0
    assert len(lidar.points[0]) == len(fused.points[0]) > 0
    assert lidar.images is None
    assert lidar.cameras == [[]]
    assert (camera.images == fused.images).all()
    pairs = zip(lidar.targets['detection'], camera.targets['detection'], strict=True)
    assert all((one == other).all() for one, other in pairs)


def test_all_modes_begin_with_equal_weights():
    lidar, camera, fused = (ModeDetector(mode, seed=3).network.state_dict() for mode in MODES)
    assert all(torch.equal(value, fused[key]) for key, value in lidar.items())
    same = [key for key in lidar if not key.startswith('fusion.')]
    assert all(torch.equal(lidar[key], camera[key]) for key in same)
    with pytest.raises(
        TinyBevError, match="mode is 'radar'; expected one of lidar, camera, fused"
    ):
        ModeDetector('radar')


def test_without_its_camera_the_network_is_a_detector_of_clouds(frames):
    model = ModeDetector('fused').eval()
    network = model.network
    detector = BevDetector(network.pfn, network.backbone, ())
    detector.heads = network.heads
    cloud = torch.from_numpy(frames[0].lidar.points)
    with torch.inference_mode():
        expected = detector([cloud], [GRID])['detection']
        batch = make_batch(frames[0], 'fused', unplugged=True)
        outputs = network(batch.points, [GRID], batch.images, batch.cameras)['detection']
    torch.testing.assert_close(outputs, expected)
    of_lidar = detect(ModeDetector('lidar').eval(), frames[0])
    assert torch.equal(detect(model, frames[0], unplugged=True).boxes, of_lidar.boxes)


def test_features_of_each_mode(frames):
    shape = (64, *GRID.strided(2).shape)
    for mode, number in zip(MODES, (1, 1, 2), strict=True):
        model = ModeDetector(mode).eval()

        def features(unplugged, model=model):
            batch = make_batch(frames[0], model.mode, unplugged)
            return model.features(batch.points, [GRID], batch.images, batch.cameras)

        with torch.inference_mode():
            plugged, unplugged = features(unplugged=False), features(unplugged=True)
        assert tuple(plugged.shape) == (number, *shape)
        assert torch.equal(plugged[0], unplugged[0]) == (mode != 'camera')
        assert torch.equal(plugged[-1], unplugged[-1]) == (mode == 'lidar')


@pytest.mark.parametrize('mode', MODES)
def test_the_loss_falls(frames, mode, tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr(trainer, '_LOG_STEPS', 1)
    model = train(mode, small_config(steps=12), frames, tmp_path)
    assert not model.training
    with (tmp_path / trainer.LOG).open(newline='') as file:
        losses = [float(row['total']) for row in csv.DictReader(file)]
    assert len(losses) == 12
    assert np.mean(losses[-3:]) < 0.85 * losses[0]


def test_equal_seeds_train_equal_networks(frames, tmp_path):
    torch.set_num_threads(1)
    config = small_config(steps=2, seed=5)
    one, other = (train('fused', config, frames, tmp_path / name) for name in ('a', 'b'))
    assert all(
        torch.equal(a, b)
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_average_precision_by_class():
    """One vehicle that is detected, one detected as marked, one of too few points."""
    boxes = np.array(
        [[10, 0, 0, 4, 2, 1.5, 0], [20, 5, 0, 4, 2, 1.5, 0], [25, -5, 0, 4, 2, 1.5, 0],
         [50, 0, 0, 4, 2, 1.5, 0]], np.float32,
    )  # fmt: skip
    ids = np.repeat([0, 1, 2, 3], [9, 9, 3, 9]).astype(np.int32)
    frame = Frame(np.zeros((30, 4), np.float32), ids, boxes, np.array([0, 0, 0, 0]))
    detections = Detections(
        torch.from_numpy(boxes[:3]), torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 2, 0])
    )
    precision = ClassAP()
    precision.add(frame, detections)
    vehicle, pedestrian, marked = precision.precisions()
    assert precision.rankings[0].positives == 2  # the fourth lies off the map
    assert vehicle == pytest.approx(0.5)
    assert np.isnan(pedestrian)
    assert np.isnan(marked)
