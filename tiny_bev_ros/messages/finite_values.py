# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Checks that arrays hold finite numbers; needs no message packages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tiny_bev_ros.errors import TinyBevError

_FLOAT16_MAX = 65504.0
_CHUNK = 2**18


def all_finite(array: np.ndarray) -> bool:
    """Returns True if all values are finite, in one pass without a large temporary."""
    if array.flags.c_contiguous:
        array = array.reshape(-1)
    if array.ndim > 1 and array.size > _CHUNK:
        return all(all_finite(part) for part in array)
    if array.ndim > 1:
        return _chunk_finite(array)
    return all(_chunk_finite(array[i : i + _CHUNK]) for i in range(0, array.size, _CHUNK))


def non_finite_error(
    field: str, axes: Sequence[str], values: Any, stored: np.ndarray | None = None
) -> TinyBevError:
    """Returns the error for the first value that is not finite as it is stored.

    Args:
        field: name of the field that holds the value.
        axes: names of the dimensions.
        values: array or PyTorch tensor before it was rounded.
        stored: values after rounding; None where they were not rounded.
    """
    stored = values if stored is None else stored
    index = np.unravel_index(int(np.isfinite(stored).argmin()), stored.shape)
    value = float(values[index])
    where = ', '.join(f'{name} {int(i)}' for name, i in zip(axes, index, strict=True))
    expected = 'a finite number'
    if math.isfinite(value):
        expected = f'at most {_FLOAT16_MAX:g} in size, the range of float16'
    return TinyBevError(f'{field} holds {value:g} at {where}; expected {expected}')


def _chunk_finite(chunk: np.ndarray) -> bool:
    if chunk.dtype == np.float32:
        return bool(np.isfinite(chunk).all())
    # np.isfinite of float16 is ten times slower than finding an exponent of all ones.
    exponent = np.bitwise_and(chunk.view('<u2'), 0x7C00)
    return not exponent.size or bool(exponent.max() != 0x7C00)
