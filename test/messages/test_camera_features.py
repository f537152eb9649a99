# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import Axis
from tiny_bev_ros.messages.camera_features import camera_labels, decode_camera_features
from tiny_bev_ros.messages.tensor import encode_tensor
from tiny_bev_ros.messages.tensor_labels import CameraCalibration, TensorLabels
from tiny_bev_ros.models.camera.geometry import make_camera

K = (11.3, 0.0, 7.2, 0.0, 11.3, 2.6, 0.0, 0.0, 1.0)
D = (-0.3, 0.1, 0.001, -0.002, 0.01)
LABELS = TensorLabels((5, 6), 'cam', calibration=CameraCalibration(K, D))


def features(batch: int = 1, channels: int = 4) -> np.ndarray:
    return np.random.default_rng(0).random((batch, channels, 6, 15), np.float32)


def decode(array: np.ndarray, labels: TensorLabels):
    return decode_camera_features(encode_tensor(array, labels), channels=4, max_bytes=10**6)


@pytest.mark.parametrize('lens', [(), D, (*D, 0.2, 0.0, -0.01)])
def test_a_camera_and_what_it_sees_come_back(lens):
    mount = [[0, -1, 0, 0.1], [0, 0, -1, 0.2], [1, 0, 0, 0.3], [0, 0, 0, 1]]
    camera = make_camera(K, mount, (15, 6), lens, 'rational_polynomial')
    read = decode(features(), camera_labels(camera, (5, 6), 'cam'))
    assert (read.stamp, read.frame_id) == ((5, 6), 'cam')
    np.testing.assert_array_equal(read.tensor, features())
    assert read.camera.size == (15, 6)
    assert torch.equal(read.camera.intrinsics, camera.intrinsics)
    assert torch.equal(read.camera.distortion, camera.distortion)
    # The message does not contain the extrinsics.
    assert torch.equal(read.camera.extrinsics, torch.eye(4, dtype=torch.float64))


@pytest.mark.parametrize(
    ('array', 'labels', 'reason'),
    [
        (features(), dataclasses.replace(LABELS, stamp=None), 'label of batch has no stamp'),
        (features(), dataclasses.replace(LABELS, frame_id=None), 'has no frame_id'),
        (features(), dataclasses.replace(LABELS, calibration=None), 'has no k; expected'),
        (features(2), LABELS, 'batch size is 2; expected 1'),
        (features(1, 5), LABELS, 'size is 5 channels; expected 4'),
        (
            features(),
            dataclasses.replace(LABELS, calibration=CameraCalibration((0.0,) * 9)),
            'k is all zeros',
        ),
        # BEV features on the topic, by mistake.
        (features(), TensorLabels((1, 0), 'm', Axis(0, 1), Axis(0, 1)), 'has no k'),
    ],
)
def test_what_is_refused(array, labels, reason):
    with pytest.raises(TinyBevError, match=re.escape(reason)):
        decode(array, labels)
