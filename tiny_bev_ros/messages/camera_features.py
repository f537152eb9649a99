# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Camera features and their calibration: to a tensor message and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.message_fields import Stamp
from tiny_bev_ros.messages.tensor import decode_tensor
from tiny_bev_ros.messages.tensor_labels import CameraCalibration, TensorLabels
from tiny_bev_ros.models.camera.extrinsics import IDENTITY_EXTRINSICS
from tiny_bev_ros.models.camera.geometry import Camera, make_camera


@dataclass(frozen=True)
class CameraFeatures:
    """Decoded features of an image.

    Attributes:
        tensor: (1,C,rows,cols) float32 or float16, in the memory of the message.
        camera: camera of an image of cols x rows pixels, in its own optical frame.
        stamp: (sec, nanosec) of the image.
        frame_id: optical frame.
    """

    tensor: Tensor
    camera: Camera
    stamp: Stamp
    frame_id: str


def camera_labels(camera: Camera, stamp: Stamp, frame_id: str) -> TensorLabels:
    """Returns the labels of features of an image.

    Args:
        camera: camera with one pixel per feature.
        stamp: (sec, nanosec) of the image.
        frame_id: optical frame.
    """
    calibration = CameraCalibration(
        tuple(camera.intrinsics.flatten().tolist()), tuple(camera.distortion.tolist())
    )
    return TensorLabels(stamp, frame_id, calibration=calibration)


def decode_camera_features(msg: Any, *, channels: int, max_bytes: int) -> CameraFeatures:
    """Decodes features of a camera.

    Args:
        msg: Float32MultiArray or UInt8MultiArray.
        channels: expected number of channels.
        max_bytes: largest size of the message.

    Raises:
        TinyBevError: `decode_tensor` raises it; the batch is not 1; stamp, frame or calibration
            are missing; or the calibration is invalid.
    """
    decoded = decode_tensor(msg, channels=channels, max_bytes=max_bytes)
    labels = decoded.labels
    for name, value in (
        ('stamp', labels.stamp),
        ('frame_id', labels.frame_id),
        ('k', labels.calibration),
    ):
        if value is None:
            raise TinyBevError(f'label of batch has no {name}; expected stamp, frame_id and k')
    assert labels.stamp and labels.frame_id is not None and labels.calibration
    batch, _, rows, cols = decoded.array.shape
    if batch != 1:
        raise TinyBevError(f'batch size is {batch}; expected 1, the features of one image')
    calibration = labels.calibration
    # The number of values in D implies the model.
    camera = make_camera(calibration.k, IDENTITY_EXTRINSICS, (cols, rows), calibration.d, model='')
    return CameraFeatures(decoded.tensor, camera, labels.stamp, labels.frame_id)
