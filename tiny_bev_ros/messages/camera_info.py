# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""sensor_msgs/CameraInfo to a camera model."""

from __future__ import annotations

from typing import Any

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.camera.extrinsics import IDENTITY_EXTRINSICS
from tiny_bev_ros.models.camera.geometry import Camera, make_camera


def decode_camera_info(msg: Any) -> Camera:
    """Decodes the camera of an image, in its own optical frame.

    K and D are read, which belong to the raw image; R and P are not. For a rectified image
    (`image_rect`) the CameraInfo must have zeros as D and P as K, as that of KITTI has; the one
    that image_proc passes on belongs to the raw image. A region of interest and binning, which
    the K of a CameraInfo does not include, are applied; binning as an average of pixels.

    Args:
        msg: a sensor_msgs/CameraInfo of rclpy, or an object with the same attributes.

    Returns:
        The camera; its extrinsics are the identity, as CameraInfo has none.

    Raises:
        TinyBevError: K, D, distortion_model, width or height are invalid for `make_camera`, or
            the region of interest is not within the image.
    """
    size = (int(msg.width), int(msg.height))
    camera = make_camera(
        [float(value) for value in msg.k],
        IDENTITY_EXTRINSICS,
        size,
        [float(value) for value in msg.d],
        msg.distortion_model,
    )
    roi = msg.roi
    left, top = int(roi.x_offset), int(roi.y_offset)
    # A width or height of 0 means the whole image, as does a region of zeros.
    part = (int(roi.width) or size[0] - left, int(roi.height) or size[1] - top)
    if min(part) <= 0 or left + part[0] > size[0] or top + part[1] > size[1]:
        raise TinyBevError(
            f'roi is {part[0]} x {part[1]} at {left}, {top}; '
            f'expected a part of {size[0]} x {size[1]} pixels'
        )
    binning = (max(int(msg.binning_x), 1), max(int(msg.binning_y), 1))
    if binning[0] > part[0] or binning[1] > part[1]:
        raise TinyBevError(
            f'binning is {binning[0]} x {binning[1]}; expected at most {part[0]} x {part[1]}, '
            'the size of the image'
        )
    if (left, top, part) != (0, 0, size):
        camera = camera.cropped(left, top, part)
    if binning != (1, 1):
        # Incomplete pixels at the right and bottom edge are dropped.
        binned = (part[0] // binning[0], part[1] // binning[1])
        whole = (binned[0] * binning[0], binned[1] * binning[1])
        camera = camera.cropped(0, 0, whole).scaled(binned)
    return camera
