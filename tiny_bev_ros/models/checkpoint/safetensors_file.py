# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Reading of safetensors files without that package."""

from __future__ import annotations

import json
import math
from io import BytesIO
from typing import Any, BinaryIO

import torch
from torch import Tensor

# Largest header: a file is eight bytes of its length, the header in JSON, and the tensors.
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
    """True if the first bytes are those of a safetensors file."""
    return start[8:9] == b'{' and int.from_bytes(start[:8], 'little') <= MAX_HEADER


def read_header(file: BinaryIO) -> dict[str, Any]:
    """Reads the header of a file, behind which the tensors begin.

    Raises:
        ValueError: the file has no such header.
    """
    start = file.read(9)
    if not is_safetensors(start):
        raise ValueError('it has no header of safetensors')
    length = int.from_bytes(start[:8], 'little')
    header: dict[str, Any] = json.loads(start[8:] + file.read(length - 1))
    return header


def read_tensors(content: bytes) -> dict[str, Tensor]:
    """Reads the tensors of a file, on the CPU.

    Raises:
        ValueError: a tensor does not lie in the file, or is of an unknown type; KeyError or
            TypeError for other errors in the header.
    """
    file = BytesIO(content)
    header = read_header(file)
    data = memoryview(bytearray(file.read()))
    return {
        name: _tensor(entry['dtype'], entry['shape'], entry['data_offsets'], data)
        for name, entry in header.items()
        if name != '__metadata__'
    }


def _tensor(kind: str, shape: list[int], offsets: list[int], data: memoryview) -> Tensor:
    if kind not in _DTYPES:
        raise ValueError(f'a tensor is of {kind!r}')
    dtype, (begin, end) = _DTYPES[kind], offsets
    if not 0 <= begin <= end <= len(data) or end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError('a tensor does not lie in it')
    if begin == end:
        return torch.empty(shape, dtype=dtype)
    # By way of bytes, as a tensor need not be aligned to the size of its numbers.
    numbers = torch.frombuffer(data[begin:end], dtype=torch.uint8)
    return (numbers.clone() if begin % dtype.itemsize else numbers).view(dtype).view(shape)
