# SPDX-License-Identifier: Apache-2.0
"""Features of a camera and how it sees them, as a tensor message and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.calibration_labels import Calibration
from tiny_bev_ros.messages.tensor import decode_tensor
from tiny_bev_ros.messages.tensor_labels import TensorLabels
from tiny_bev_ros.models.camera.extrinsics import IDENTITY_EXTRINSICS
from tiny_bev_ros.models.camera.geometry import Camera, make_camera


@dataclass(frozen=True)
class CameraFeatures:
    """A decoded message.

    Attributes:
        tensor: (1,C,rows,cols) float32 or float16, in the memory of the message.
        camera: as of an image of cols x rows pixels, in its own optical frame.
        stamp: (sec, nanosec) of the image.
        frame_id: the optical frame.
    """

    tensor: Tensor
    camera: Camera
    stamp: tuple[int, int]
    frame_id: str


def labels_of(camera: Camera, stamp: tuple[int, int], frame_id: str) -> TensorLabels:
    """The labels of features, of which the camera sees one in each pixel."""
    calibration = Calibration(
        tuple(camera.intrinsics.flatten().tolist()), tuple(camera.distortion.tolist())
    )
    return TensorLabels(stamp, frame_id, calibration=calibration)


def decode_camera_features(msg: Any, *, channels: int, max_bytes: int) -> CameraFeatures:
    """Reads features of a camera.

    Args:
        msg: Float32MultiArray or UInt8MultiArray.
        channels: that they must have.
        max_bytes: how large the message may be.

    Raises:
        TinyBevError: as of `decode_tensor`; the batch is not 1; stamp, frame or calibration are
            not said; or the calibration is none of a camera.
    """
    read = decode_tensor(msg, channels=channels, max_bytes=max_bytes)
    labels = read.labels
    for name, value in (
        ('stamp', labels.stamp),
        ('frame_id', labels.frame_id),
        ('k', labels.calibration),
    ):
        if value is None:
            raise TinyBevError(f'label of batch has no {name}; expected stamp, frame_id and k')
    assert labels.stamp and labels.frame_id is not None and labels.calibration
    batch, _, rows, cols = read.array.shape
    if batch != 1:
        raise TinyBevError(f'batch size is {batch}; expected 1, the features of one image')
    calibration = labels.calibration
    # The count of D says the model.
    camera = make_camera(calibration.k, IDENTITY_EXTRINSICS, (cols, rows), calibration.d, model='')
    return CameraFeatures(read.tensor, camera, labels.stamp, labels.frame_id)
