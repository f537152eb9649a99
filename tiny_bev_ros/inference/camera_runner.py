# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Runs the camera encoder: images to camera features."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.folded_module import FoldedModule
from tiny_bev_ros.inference.memory import computing
from tiny_bev_ros.inference.precision import dtype_for
from tiny_bev_ros.models.camera.encoder import CameraEncoder
from tiny_bev_ros.models.camera.geometry import Camera
from tiny_bev_ros.models.device import copy_to_device


class CameraRunner:
    """Runs the encoder on the image of one camera at a time.

    Args:
        encoder: camera encoder, which is copied.
        device: device on which to compute.
        precision: compute dtype, see `dtype_for`.
        resize_width: width in pixels to which images are scaled; 0 leaves them in their size.
        crop_height: lowest rows of the scaled image that are kept, in pixels, as the upper ones
            show the sky; 0 keeps all rows.

    Attributes:
        channels: number of channels of the features.
        stride: side of a cell of the features, in pixels.

    Raises:
        TinyBevError: a size is negative.
    """

    def __init__(
        self,
        encoder: CameraEncoder,
        device: torch.device,
        precision: str = 'float32',
        *,
        resize_width: int = 0,
        crop_height: int = 0,
    ) -> None:
        for name, pixels in (('resize_width', resize_width), ('crop_height', crop_height)):
            if pixels < 0:
                raise TinyBevError(f'{name} is {pixels}; expected 0 or more pixels')
        dtype = dtype_for(precision, device)
        self._encoder = FoldedModule(encoder.eval(), device, dtype)
        self._device = device
        self._resize_width, self._crop_height = resize_width, crop_height
        self.channels, self.stride = encoder.channels, encoder.stride

    @torch.inference_mode()
    def __call__(self, rgb: np.ndarray, camera: Camera) -> tuple[Tensor, Camera]:
        """Computes the features of one image.

        Args:
            rgb: (H,W,3) uint8.
            camera: camera that took it.

        Returns:
            (1,C,rows,cols) float32 features on the device, and the camera scaled to an image of
            cols x rows pixels, each of which is one feature.

        Raises:
            TinyBevError: the image is not of the camera's size or lower than crop_height, or
                memory is short.
        """
        height, width = rgb.shape[:2]
        if camera.size != (width, height):
            raise TinyBevError(
                f'image is of {width} x {height} pixels; expected {camera.size[0]} x '
                f'{camera.size[1]}, as in its calibration'
            )
        with computing(f'an image of {width} x {height} pixels', self._device):
            image, camera = self._fit(_pixels(rgb), camera)
            image = copy_to_device(image, self._device).float() / 255
            features = self._encoder(image[None]).float()[0]
        return features, camera.strided(self.stride)

    def warm_up(self, size: tuple[int, int]) -> None:
        """Encodes one image of a width and height, so that the first frame is not late."""
        intrinsics = torch.eye(3, dtype=torch.float64)
        extrinsics = torch.eye(4, dtype=torch.float64)
        camera = Camera(intrinsics, torch.zeros(8, dtype=torch.float64), extrinsics, size)
        self(np.zeros((size[1], size[0], 3), np.uint8), camera)

    def _fit(self, image: Tensor, camera: Camera) -> tuple[Tensor, Camera]:
        """Scales and crops an image (1,3,H,W), and its camera with it."""
        width, height = self._resize_width, self._crop_height
        if width and width != camera.size[0]:
            scaled = (width, max(1, round(camera.size[1] * width / camera.size[0])))
            image = interpolate(image, scaled[::-1], mode='bilinear', antialias=True)
            camera = camera.scaled(scaled)
        above = camera.size[1] - height
        if height and above < 0:
            raise TinyBevError(
                f'crop_height is {height}; expected at most '
                f'{camera.size[1]}, as images have after scaling'
            )
        if height:
            image = image[:, :, above:]
            camera = camera.cropped(0, above, (camera.size[0], height))
        return image, camera


def _pixels(rgb: np.ndarray) -> Tensor:
    """Views (H,W,3) uint8 as (1,3,H,W); copied where the memory is read-only."""
    pixels = rgb if rgb.flags.writeable else rgb.copy()
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]
