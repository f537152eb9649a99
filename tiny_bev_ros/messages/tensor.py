# SPDX-License-Identifier: Apache-2.0
"""BEV tensors as std_msgs multi-arrays and back; the format is docs/tensor_message.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from std_msgs.msg import Float32MultiArray, MultiArrayDimension, MultiArrayLayout, UInt8MultiArray

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.labels import (
    AXES,
    BYTE_LABEL,
    TensorLabels,
    parse_labels,
    write_labels,
)

__all__ = ['MESSAGE_TYPES', 'BevTensor', 'TensorLabels', 'decode_tensor', 'encode_tensor']

MESSAGE_TYPES = {'float32': Float32MultiArray, 'float16': UInt8MultiArray}

# Bytes of float16 have an order of their own on the wire; float32 is the middleware's.
_DTYPES: dict[str, np.dtype[Any]] = {'float32': np.dtype(np.float32), 'float16': np.dtype('<f2')}
_MAX_UINT32 = 2**32 - 1
_FLOAT16_MAX = 65504.0
# Values looked at in one go: small beside the tensor, large beside the cost of a call.
_CHUNK = 2**18


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


def encode_tensor(
    array: np.ndarray,
    labels: TensorLabels,
    encoding: str = 'float32',
    out: Any = None,
) -> Float32MultiArray | UInt8MultiArray:
    """Writes a tensor and its labels as a message.

    Args:
        array: (B, C, H, W) float32 or float16, any strides. NumPy rounds float32 to
            float16 some ten times slower than torch does: where a torch tensor is at
            hand, ``.half()`` it first.
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
    if encoding not in MESSAGE_TYPES:
        raise TinyBevError(f'encoding is {encoding!r}; expected one of {list(MESSAGE_TYPES)}')
    if array.dtype not in (np.float32, np.float16):
        raise TinyBevError(f'array dtype is {array.dtype}; expected float32 or float16')
    if array.ndim != 4 or 0 in array.shape:
        raise TinyBevError(f'array shape is {array.shape}; expected (B, C, H, W), all above 0')

    texts, sizes = write_labels(labels), list(array.shape)
    if encoding == 'float16':
        texts, sizes = [*texts, BYTE_LABEL], [*sizes, 2]
    length = math.prod(sizes)
    if length > _MAX_UINT32:
        raise TinyBevError(
            f'array shape is {array.shape}, {length} elements of data; '
            f'expected at most {_MAX_UINT32}'
        )
    message_type = MESSAGE_TYPES[encoding]
    if isinstance(out, message_type) and len(out.data) == length:
        message = out
    else:
        message = message_type()
        # Grown in place: to repeat one zero is the cheapest way to a given length, and an
        # array that is assigned may be copied by the message class.
        data = message.data
        data.append(0)
        data *= length
    message.layout = _layout(texts, sizes)

    wire = np.frombuffer(message.data, _DTYPES[encoding]).reshape(array.shape)
    with np.errstate(over='ignore'):  # what float16 cannot hold becomes inf and is found below
        wire[...] = array
    if not _all_finite(wire):
        raise _not_finite('array', array, wire)
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
    data = _flat(msg.data)
    encoding = 'float32' if data.dtype == np.float32 else 'float16'
    dims, offset = msg.layout.dim, int(msg.layout.data_offset)
    names, labels = parse_labels([dim.label for dim in dims], float16=encoding == 'float16')
    sizes = [int(dim.size) for dim in dims]
    _check_sizes(names, sizes, data.itemsize, channels, max_bytes)
    strides = _strides(sizes, [int(dim.stride) for dim in dims])
    if offset < 0 or offset + strides[0] != data.size or data.nbytes > max_bytes:
        raise TinyBevError(
            f'data has {data.size} elements; expected layout.data_offset {offset} + '
            f'layout.dim[0].stride {strides[0]} of them, in at most {max_bytes} bytes'
        )

    # std_msgs: one step along dimension i is dim[i + 1].stride elements, along the last 1.
    # The byte dimension is inside the value.
    steps = [stride * data.itemsize for stride in (*strides[1:], 1)]
    rank = len(names)
    stored: np.ndarray = np.ndarray(
        sizes[:rank], _DTYPES[encoding], data, offset * data.itemsize, steps[:rank]
    )
    array = stored.transpose([names.index(name) for name in AXES[-rank:]])
    if rank == 3:
        array = array[np.newaxis]
    if not _all_finite(stored):
        raise _not_finite('data', array, array)
    if not array.flags.aligned:
        array = array.copy()
    return BevTensor(array, labels)


def _layout(texts: Sequence[str], sizes: Sequence[int]) -> MultiArrayLayout:
    dims = [
        MultiArrayDimension(label=text, size=size, stride=stride)
        for text, size, stride in zip(texts, sizes, _dense_strides(sizes), strict=True)
    ]
    return MultiArrayLayout(dim=dims)


def _dense_strides(sizes: Sequence[int]) -> list[int]:
    return [math.prod(sizes[index:]) for index in range(len(sizes))]


def _flat(data: Any) -> np.ndarray:
    """A message's data as a 1-D float32 or uint8 array that shares its memory."""
    try:
        view = memoryview(data)
    except (TypeError, ValueError):
        view = None
    if view is None or view.format not in ('f', 'B') or view.ndim != 1 or not view.contiguous:
        kind = type(data).__name__ + (f' of {view.format!r}' if view is not None else '')
        raise TinyBevError(f'data is {kind}; expected a flat array of float32 or uint8')
    return np.asarray(view)


def _check_sizes(
    names: Sequence[str], sizes: Sequence[int], itemsize: int, channels: int | None, max_bytes: int
) -> None:
    for index, size in enumerate(sizes):
        if size <= 0:
            raise TinyBevError(f'layout.dim[{index}].size is {size}; expected more than 0')
    if len(sizes) > len(names) and sizes[-1] != 2:
        raise TinyBevError(
            f'layout.dim[{len(names)}].size is {sizes[-1]}; expected the 2 bytes of a float16'
        )
    index = list(names).index('channel')
    if channels is not None and sizes[index] != channels:
        raise TinyBevError(
            f'layout.dim[{index}].size is {sizes[index]} channels; expected {channels}'
        )
    size = math.prod(sizes) * itemsize
    if size > max_bytes:
        raise TinyBevError(
            f'layout.dim sizes are {list(sizes)}, {size} bytes; expected at most {max_bytes}'
        )


def _strides(sizes: Sequence[int], strides: Sequence[int]) -> list[int]:
    """The strides, all of them filled in, once it is sure that no two values overlap."""
    if not any(strides):
        return _dense_strides(sizes)
    for index, (size, stride) in enumerate(zip(sizes, strides, strict=True)):
        step = strides[index + 1] if index + 1 < len(strides) else 1
        if stride < size * step:
            raise TinyBevError(
                f'layout.dim[{index}].stride is {stride}; expected at least {size * step} '
                f'(size {size} x {step}), or 0 in every dimension'
            )
    return list(strides)


def _all_finite(array: np.ndarray) -> bool:
    """One pass without a temporary of the array's size."""
    if array.flags.c_contiguous:
        array = array.reshape(-1)
    if array.ndim > 1 and array.size > _CHUNK:
        return all(_all_finite(part) for part in array)
    if array.ndim > 1:
        return _chunk_finite(array)
    return all(_chunk_finite(array[i : i + _CHUNK]) for i in range(0, array.size, _CHUNK))


def _chunk_finite(chunk: np.ndarray) -> bool:
    if chunk.dtype == np.float32:
        return bool(np.isfinite(chunk).all())
    # isfinite of float16 is ten times slower than looking for an exponent of all ones.
    exponent = np.bitwise_and(chunk.view('<u2'), 0x7C00)
    return bool(exponent.max() != 0x7C00)


def _not_finite(field: str, values: np.ndarray, stored: np.ndarray) -> TinyBevError:
    """The error for the first value that is not finite as it is stored."""
    place = np.unravel_index(int(np.isfinite(stored).argmin()), stored.shape)
    value = float(values[place])
    where = ', '.join(f'{name} {int(i)}' for name, i in zip(AXES, place, strict=True))
    wanted = 'a finite number'
    if math.isfinite(value):
        wanted = f'at most {_FLOAT16_MAX:g} in size, the range of float16'
    return TinyBevError(f'{field} holds {value:g} at {where}; expected {wanted}')
