# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Arrays in the data of std_msgs multi-arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from std_msgs.msg import Float32MultiArray, MultiArrayDimension, MultiArrayLayout, UInt8MultiArray

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.message_fields import check_max_bytes
from tiny_bev_ros.messages.tensor_labels import BYTE_LABEL

MESSAGE_TYPES = {'float32': Float32MultiArray, 'float16': UInt8MultiArray}

# float16 is little-endian in any message; the middleware converts float32.
_DTYPES: dict[str, np.dtype[Any]] = {'float32': np.dtype(np.float32), 'float16': np.dtype('<f2')}
_MAX_UINT32 = 2**32 - 1
_FLOAT16_MAX = 65504.0
# Values checked per call: few beside the tensor, many beside the overhead of a call.
_CHUNK = 2**18


def check_encoding(encoding: str) -> None:
    """Raises TinyBevError when an encoding is no key of MESSAGE_TYPES."""
    if encoding not in MESSAGE_TYPES:
        raise TinyBevError(f'encoding is {encoding!r}; expected one of {list(MESSAGE_TYPES)}')


def check_dtype(name: str, array: Any) -> None:
    """Raises TinyBevError when an array or PyTorch tensor has no dtype that can be encoded."""
    dtype = str(array.dtype).removeprefix('torch.')
    if dtype not in (*_DTYPES, 'bfloat16'):
        raise TinyBevError(f'{name} dtype is {dtype}; expected float32, float16 or bfloat16')


def allocate_message(
    shape: Sequence[int], texts: Sequence[str], encoding: str, out: Any
) -> tuple[Any, np.ndarray]:
    """Returns a message for an array, and its data as that array, yet to be filled.

    Args:
        shape: shape of the array.
        texts: label of each dimension.
        encoding: key of MESSAGE_TYPES.
        out: message that is reused if it has the right type and size, or None.

    Raises:
        TinyBevError: the array is too large for the uint32 fields of the layout.
    """
    texts, sizes = list(texts), list(shape)
    if encoding == 'float16':
        texts, sizes = [*texts, BYTE_LABEL], [*sizes, 2]
    length = math.prod(sizes)
    if length > _MAX_UINT32:
        raise TinyBevError(
            f'array shape is {tuple(shape)}, {length} elements of data; '
            f'expected at most {_MAX_UINT32}'
        )
    message_type = MESSAGE_TYPES[encoding]
    if isinstance(out, message_type) and len(out.data) == length:
        message = out
    else:
        message = message_type()
        # Grows in place: repeating one zero is the fastest way to a given length, and the
        # message class may copy an array that is assigned.
        data = message.data
        data.append(0)
        data *= length
    message.layout = MultiArrayLayout(
        dim=[
            MultiArrayDimension(label=text, size=size, stride=stride)
            for text, size, stride in zip(texts, sizes, _dense_strides(sizes), strict=True)
        ]
    )
    return message, np.frombuffer(message.data, _DTYPES[encoding]).reshape(shape)


def copy_into(values: np.ndarray, source: Any) -> None:
    """Copies an array, or a PyTorch tensor of any device, and rounds it to float16 if needed.

    A device converts and lays out its tensor itself, so that each value crosses once, as it is
    stored.
    """
    if isinstance(source, np.ndarray):
        with np.errstate(over='ignore'):  # values beyond float16 become infinite
            values[...] = source
        return
    import torch  # a late import: readers do not need it

    from tiny_bev_ros.models.device import copy_to_host

    target = torch.from_numpy(values)
    if source.is_cuda:
        (source,) = copy_to_host(source.to(target.dtype).contiguous())
    target.copy_(source)


def flat_data(data: Any) -> np.ndarray:
    """Returns the data of a message as a 1-D float32 or uint8 array that shares its memory.

    Raises:
        TinyBevError: data is no such buffer.
    """
    try:
        view = memoryview(data)
    except (TypeError, ValueError):
        view = None
    if view is None or view.format not in ('f', 'B') or view.ndim != 1 or not view.contiguous:
        kind = type(data).__name__ + (f' of {view.format!r}' if view is not None else '')
        raise TinyBevError(f'data is {kind}; expected a flat array of float32 or uint8')
    return np.asarray(view)


def strided_view(msg: Any, names: Sequence[str], max_bytes: int) -> np.ndarray:
    """Returns the array in the data of a message, with the dimensions of its layout.

    Args:
        msg: multi-array message.
        names: names of its dimensions, without the bytes of a float16.
        max_bytes: largest size of the array, and of the data that holds it.

    Returns:
        A view of the data; for float16 it may be unaligned.

    Raises:
        TinyBevError: the layout contradicts itself, the data or max_bytes.
    """
    data = flat_data(msg.data)
    sizes = [int(dim.size) for dim in msg.layout.dim]
    offset = int(msg.layout.data_offset)
    _check_sizes(names, sizes, data.itemsize, max_bytes)
    strides = _strides(sizes, [int(dim.stride) for dim in msg.layout.dim])
    if offset < 0 or offset + strides[0] != data.size or data.nbytes > max_bytes:
        raise TinyBevError(
            f'data has {data.size} elements; expected layout.data_offset {offset} + '
            f'layout.dim[0].stride {strides[0]} of them, in at most {max_bytes} bytes'
        )
    # By std_msgs, a step along dimension i is dim[i + 1].stride elements, along the last one 1.
    # The byte dimension is part of the value.
    steps = [stride * data.itemsize for stride in (*strides[1:], 1)]
    dtype = _DTYPES['float32' if data.dtype == np.float32 else 'float16']
    rank = len(names)
    return np.ndarray(sizes[:rank], dtype, data, offset * data.itemsize, steps[:rank])


def ensure_aligned(array: np.ndarray) -> np.ndarray:
    """Returns the array, or a copy where it is unaligned for PyTorch.

    Unlike NumPy, PyTorch needs steps that are multiples of the itemsize even along a dimension
    of size 1.
    """
    if array.flags.aligned and not any(step % array.itemsize for step in array.strides):
        return array
    return array.copy()


def _dense_strides(sizes: Sequence[int]) -> list[int]:
    return [math.prod(sizes[index:]) for index in range(len(sizes))]


def _check_sizes(
    names: Sequence[str], sizes: Sequence[int], itemsize: int, max_bytes: int
) -> None:
    for index, size in enumerate(sizes):
        may_be_empty = names[index : index + 1] in (['pillar'], ['object'])
        if size < 0 or (size == 0 and not may_be_empty):
            expected = '0 or more' if may_be_empty else 'more than 0'
            raise TinyBevError(f'layout.dim[{index}].size is {size}; expected {expected}')
    if len(sizes) > len(names) and sizes[-1] != 2:
        raise TinyBevError(
            f'layout.dim[{len(names)}].size is {sizes[-1]}; expected the 2 bytes of a float16'
        )
    check_max_bytes(
        f'tensor of layout.dim sizes {list(sizes)}', math.prod(sizes) * itemsize, max_bytes
    )


def _strides(sizes: Sequence[int], strides: Sequence[int]) -> list[int]:
    """Returns the strides, dense ones where all are 0; checks that no values overlap."""
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
