# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""BEV tensors as std_msgs multi-arrays; docs/tensor_message.md defines the format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages import multi_array
from tiny_bev_ros.messages.finite_values import all_finite, non_finite_error
from tiny_bev_ros.messages.label_parser import parse_labels
from tiny_bev_ros.messages.multi_array import MESSAGE_TYPES
from tiny_bev_ros.messages.tensor_labels import AXES, TensorLabels, format_labels

if TYPE_CHECKING:
    import torch

__all__ = ['MESSAGE_TYPES', 'BevTensor', 'TensorLabels', 'decode_tensor', 'encode_tensor']


@dataclass(frozen=True)
class BevTensor:
    """A decoded tensor message.

    Attributes:
        array: (B, C, H, W) float32 or float16, all finite. A view of the data of the message
            (valid and unchanged only as long as the message is), with any strides;
            read-only if the data is.
        labels: stamp, frame and metric axes, as far as the message states them.
    """

    array: np.ndarray
    labels: TensorLabels

    @property
    def tensor(self) -> torch.Tensor:
        """The array as a PyTorch tensor that shares its memory."""
        import torch  # a late import: users of the array do not need it

        return torch.from_numpy(self.array)


def encode_tensor(
    array: np.ndarray | torch.Tensor,
    labels: TensorLabels,
    encoding: str = 'float32',
    out: Any = None,
) -> Any:
    """Encodes a tensor and its labels as a message.

    Args:
        array: (B, C, H, W) float32 or float16, any strides, of NumPy or, on any device and also
            in bfloat16, of PyTorch. NumPy rounds float32 to float16 some ten times slower than
            PyTorch.
        labels: stamp, frame and metric axes.
        encoding: 'float32' (Float32MultiArray) or 'float16' (UInt8MultiArray).
        out: message of an earlier call, or None. If it has the right type and size it
            is refilled and returned, which saves the allocation; otherwise a new
            message is made. After an error its data is undefined.

    Returns:
        A message whose ``data`` is an ``array.array``, which rclpy takes as it is.

    Raises:
        TinyBevError: the array or encoding is of another kind, a value is NaN, infinite
            or beyond the range of float16, or the tensor is too large for the uint32
            fields of the layout.
    """
    multi_array.check_encoding(encoding)
    multi_array.check_dtype('array', array)
    shape = tuple(array.shape)
    if len(shape) != 4 or 0 in shape:
        raise TinyBevError(f'array shape is {shape}; expected (B, C, H, W), all above 0')
    message, values = multi_array.allocate_message(shape, format_labels(labels), encoding, out)
    multi_array.copy_into(values, array)
    if not all_finite(values):
        raise non_finite_error('array', AXES, array, values)
    return message


def decode_tensor(
    msg: Any, *, channels: int | None = None, max_bytes: int = 256 * 2**20
) -> BevTensor:
    """Decodes a tensor message, of this package or a plain one.

    Args:
        msg: Float32MultiArray or UInt8MultiArray, of rclpy or of rosbags.
        channels: expected number of channels, or None for any.
        max_bytes: largest size of the tensor, and of the data that holds it.

    Returns:
        The tensor as a view of ``msg.data``; a copy only where float16 values do not lie
        on even addresses.

    Raises:
        TinyBevError: the layout contradicts itself, the data or the arguments, or a value
            is NaN or infinite. Nothing large is allocated before these checks.
    """
    texts = [dim.label for dim in msg.layout.dim]
    float16 = multi_array.flat_data(msg.data).dtype == np.uint8
    names, labels = parse_labels(texts, float16=float16)
    stored = multi_array.strided_view(msg, names, max_bytes)
    index, rank = names.index('channel'), len(names)
    if channels is not None and stored.shape[index] != channels:
        raise TinyBevError(
            f'layout.dim[{index}].size is {stored.shape[index]} channels; expected {channels}'
        )
    array = stored.transpose([names.index(name) for name in AXES[-rank:]])
    if rank == 3:
        array = array[np.newaxis]
    if not all_finite(stored):
        raise non_finite_error('data', AXES, array)
    return BevTensor(multi_array.ensure_aligned(array), labels)
