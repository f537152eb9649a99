# SPDX-License-Identifier: Apache-2.0
"""Tensors from files in the form of safetensors, for which that package need not be installed."""

from __future__ import annotations

import json
import math
from io import BytesIO
from typing import Any, BinaryIO

import torch
from torch import Tensor

# Eight bytes of length, then a header in JSON, which is never larger.
MAX_HEADER = 100 * 2**20
_DTYPES = {
    'F64': torch.float64,
    'F32': torch.float32,
    'F16': torch.float16,
    'BF16': torch.bfloat16,
    'F8_E4M3': torch.float8_e4m3fn,
    'F8_E5M2': torch.float8_e5m2,
    'I64': torch.int64,
    'I32': torch.int32,
    'I16': torch.int16,
    'I8': torch.int8,
    'U8': torch.uint8,
    'BOOL': torch.bool,
}


def is_safetensors(start: bytes) -> bool:
    """Tells whether a file that begins so is one of safetensors."""
    return start[8:9] == b'{' and int.from_bytes(start[:8], 'little') <= MAX_HEADER


def read_header(file: BinaryIO) -> dict[str, Any]:
    """The header of a file, after which the tensors begin.

    Raises:
        ValueError: it is none.
    """
    start = file.read(9)
    if not is_safetensors(start):
        raise ValueError('it has no header of safetensors')
    length = int.from_bytes(start[:8], 'little')
    header: dict[str, Any] = json.loads(start[8:] + file.read(length - 1))
    return header


def read_tensors(content: bytes) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU.

    Raises:
        ValueError: a tensor does not lie in the file, or is of an unknown type; KeyError or
            TypeError for other headers that are wrong.
    """
    file = BytesIO(content)
    header = read_header(file)
    data = memoryview(bytearray(file.read()))
    return {
        name: _tensor(entry['dtype'], entry['shape'], entry['data_offsets'], data)
        for name, entry in header.items()
        if name != '__metadata__'
    }


def _tensor(kind: str, shape: list[int], place: list[int], data: memoryview) -> Tensor:
    if kind not in _DTYPES:
        raise ValueError(f'a tensor is of {kind!r}')
    dtype, (begin, end) = _DTYPES[kind], place
    if not 0 <= begin <= end <= len(data) or end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError('a tensor does not lie in it')
    if begin == end:
        return torch.empty(shape, dtype=dtype)
    # By way of bytes, as its place need not be a multiple of the size of its numbers.
    numbers = torch.frombuffer(data[begin:end], dtype=torch.uint8)
    return (numbers.clone() if begin % dtype.itemsize else numbers).view(dtype).view(shape)
