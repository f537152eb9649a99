# SPDX-License-Identifier: Apache-2.0
"""BEV tensors as std_msgs multi-arrays and back; the format is docs/tensor_message.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages import wire
from tiny_bev_ros.messages.tensor_labels import AXES, TensorLabels, parse_labels, write_labels
from tiny_bev_ros.messages.wire import MESSAGE_TYPES

if TYPE_CHECKING:
    import torch

__all__ = ['MESSAGE_TYPES', 'BevTensor', 'TensorLabels', 'decode_tensor', 'encode_tensor']


@dataclass(frozen=True)
class BevTensor:
    """A decoded tensor message.

    Attributes:
        array: (B, C, H, W) float32 or float16, all finite. A view of the message's data
            (valid and unchanged only as long as the message is), with any strides;
            read-only if the data is.
        labels: stamp, frame and metric axes, as far as the message says.
    """

    array: np.ndarray
    labels: TensorLabels

    @property
    def tensor(self) -> torch.Tensor:
        """The same values, in the same memory, for PyTorch."""
        import torch  # here, as those who take the array need not wait for it

        return torch.from_numpy(self.array)


def encode_tensor(
    array: np.ndarray | torch.Tensor,
    labels: TensorLabels,
    encoding: str = 'float32',
    out: Any = None,
) -> Any:
    """Writes a tensor and its labels as a message.

    Args:
        array: (B, C, H, W) float32 or float16, any strides, of NumPy or, on any device, of
            PyTorch. NumPy rounds float32 to float16 some ten times slower than PyTorch.
        labels: stamp, frame and metric axes.
        encoding: 'float32' (Float32MultiArray) or 'float16' (UInt8MultiArray).
        out: a message of an earlier call, or None. If it has the right type and size it
            is filled again and returned, which saves the allocation; otherwise a new
            message is made. After an error its data is undefined.

    Returns:
        A message whose ``data`` is an ``array.array``, which rclpy takes as it is.

    Raises:
        TinyBevError: the array or encoding is none of the above, a value is NaN, infinite
            or beyond the range of float16, or the tensor is too large for the uint32
            fields of the layout.
    """
    wire.check_encoding(encoding)
    wire.check_dtype('array', array)
    shape = tuple(array.shape)
    if len(shape) != 4 or 0 in shape:
        raise TinyBevError(f'array shape is {shape}; expected (B, C, H, W), all above 0')
    message, values = wire.message_for(shape, write_labels(labels), encoding, out)
    wire.fill(values, array)
    if not wire.all_finite(values):
        raise wire.not_finite('array', AXES, array, values)
    return message


def decode_tensor(
    msg: Any, *, channels: int | None = None, max_bytes: int = 256 * 2**20
) -> BevTensor:
    """Reads a tensor message, of this package or a plain one.

    Args:
        msg: Float32MultiArray or UInt8MultiArray, of rclpy or of rosbags.
        channels: the number of channels wanted, or None for any.
        max_bytes: how large the tensor, and the data that holds it, may be.

    Returns:
        The tensor as a view of ``msg.data``; a copy only where float16 values do not lie
        on even addresses.

    Raises:
        TinyBevError: the layout contradicts itself, the data or the arguments, or a value
            is NaN or infinite. Nothing large is allocated before this is known.
    """
    texts = [dim.label for dim in msg.layout.dim]
    names, labels = parse_labels(texts, float16=wire.flat(msg.data).dtype == np.uint8)
    stored = wire.stored_values(msg, names, max_bytes)
    index, rank = names.index('channel'), len(names)
    if channels is not None and stored.shape[index] != channels:
        raise TinyBevError(
            f'layout.dim[{index}].size is {stored.shape[index]} channels; expected {channels}'
        )
    array = stored.transpose([names.index(name) for name in AXES[-rank:]])
    if rank == 3:
        array = array[np.newaxis]
    if not wire.all_finite(stored):
        raise wire.not_finite('data', AXES, array)
    return BevTensor(wire.aligned(array), labels)
