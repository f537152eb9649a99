# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""BEV features of a run as safetensors, a few frames a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from tiny_bev_ros.extraction.array_files import axes_entry, write_arrays
from tiny_bev_ros.extraction.run_rows import FrameRows
from tiny_bev_ros.messages.finite_values import all_finite, non_finite_error
from tiny_bev_ros.messages.output_roi import OutputRoi
from tiny_bev_ros.messages.tensor_labels import AXES, TensorLabels
from tiny_bev_ros.models.device import copy_to_host

if TYPE_CHECKING:
    from tiny_bev_ros.extraction.frame_outputs import ExtractedFrame

_MAX_FRAMES = 16
_MAX_BYTES = 128 * 2**20
_INT8_MAX = 127


class FeatureFiles:
    """Files of at most 16 frames or 128 MiB of features, written when they are full.

    float16 features are rounded. int8 features times their scale, one for each channel and frame,
    are the features to within half a scale: 1/254 of the largest magnitude of that channel.

    Args:
        dtype: float16 or int8.
        roi: region to which features are cropped.
        part: path of the files, without number and ending.
    """

    def __init__(self, dtype: str, roi: OutputRoi, part: Path) -> None:
        self._dtype, self._roi, self._part = dtype, roi, part
        self._labels = TensorLabels()
        self._frames = FrameRows()
        self._written = 0
        # Arrays by name, with room for the frames of one file; reused for the next one.
        self._arrays: dict[str, np.ndarray] = {}

    def add(self, frame: ExtractedFrame) -> None:
        """Adds a frame, see `RunWriter`."""
        grid = frame.result.grid
        labels = TensorLabels(y_axis=grid.y_axis, x_axis=grid.x_axis)
        features, self._labels = self._roi.crop(frame.result.features, labels)
        encode = to_int8 if self._dtype == 'int8' else to_float16
        encoded = encode(features)
        if not self._arrays:
            room = min(_MAX_FRAMES, max(_MAX_BYTES // encoded['features'].nbytes, 1))
            self._arrays = {
                name: np.empty((room, *values.shape), values.dtype)
                for name, values in encoded.items()
            }
        for name, values in encoded.items():
            self._arrays[name][len(self._frames)] = values
        self._frames.add(frame)
        if len(self._frames) == len(self._arrays['features']):
            self._write()

    def close(self) -> None:
        """Writes the last file."""
        if len(self._frames):
            self._write()

    def _write(self) -> None:
        arrays = {name: values[: len(self._frames)] for name, values in self._arrays.items()}
        x_axis, y_axis = self._labels.square_axes()
        path = self._part.with_name(f'{self._part.name}-{self._written:03d}.safetensors')
        write_arrays(path, self._frames, arrays, axes_entry(x_axis, y_axis))
        self._written += 1
        self._frames = FrameRows()


def to_float16(features: torch.Tensor) -> dict[str, np.ndarray]:
    """Returns features (1,C,h,w) as `features` (C,h,w) float16.

    Raises:
        TinyBevError: a value is NaN, infinite or beyond the range of float16.
    """
    (rounded,) = copy_to_host(features.to(torch.float16).contiguous())
    values = rounded.numpy()
    if not all_finite(values):
        raise non_finite_error('features', AXES, features, values)
    return {'features': values[0]}


def to_int8(features: torch.Tensor) -> dict[str, np.ndarray]:
    """Returns features (1,C,h,w) as `features` (C,h,w) int8 and `scale` (C,) float32.

    Raises:
        TinyBevError: a value is NaN or infinite.
    """
    largest = features.abs().amax(dim=(2, 3), keepdim=True)
    scale = largest / _INT8_MAX
    # Channels of zeros have the scale 0.
    codes = torch.round(features / torch.where(scale > 0, scale, 1.0))
    on_host, scales = copy_to_host(codes.to(torch.int8).contiguous(), scale.flatten())
    if not np.isfinite(scales.numpy()).all():
        raise non_finite_error('features', AXES, features.cpu().numpy())
    return {'features': on_host.numpy()[0], 'scale': scales.numpy()}
