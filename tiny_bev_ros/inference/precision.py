# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Compute dtypes: lower precision only where it is faster, and float32 that is never TF32."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from threading import Lock
from typing import Any

import torch

from tiny_bev_ros.inference.cpu_flags import cpu_flags

PRECISIONS = ('float32', 'bfloat16', 'float16', 'auto')
_ROUNDS = 3


def dtype_for(precision: str, device: torch.device) -> torch.dtype:
    """Returns the compute dtype of a precision on a device.

    Args:
        precision: float32; bfloat16 or float16, in place of which a CPU that is measured to be
            slower with it computes in float32; or auto for the `auto_dtype`.
        device: device of the computation.
    """
    return choose_dtype(precision, device)[0]


def choose_dtype(precision: str, device: torch.device) -> tuple[torch.dtype, str]:
    """Returns the compute dtype, and the reason for which it is float32 in place of the named one.

    The reason is '' where the compute dtype is the named one; see also `dtype_for`.
    """
    dtype = requested_dtype(precision, device)
    measured = precision != 'auto' and device.type == 'cpu'
    reason = reason_for_float32(dtype) if measured else ''
    return (torch.float32 if reason else dtype), reason


def requested_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Returns the dtype that a precision names, or `auto_dtype`; nothing is measured."""
    dtype: torch.dtype = auto_dtype(device) if precision == 'auto' else getattr(torch, precision)
    return dtype


def auto_dtype(device: torch.device) -> torch.dtype:
    """Returns the fastest compute dtype of a device by its kind, without measuring.

    On CUDA the tensor cores decide, by the "CUDA C++ Programming Guide", compute capabilities:
    they take bfloat16, which has the range of float32, from 8.0 on, and float16 from 7.0 on.
    Before, cuDNN computes in float32 whatever the maps are in. On a CPU only AMX makes
    bfloat16 fast.
    """
    if device.type == 'cuda':
        major, _ = torch.cuda.get_device_capability(device)
        if major >= 7:
            return torch.bfloat16 if major >= 8 else torch.float16
        return torch.float32
    return torch.bfloat16 if device.type == 'cpu' and _cpu_has_amx() else torch.float32


def autocast(dtype: torch.dtype, device: torch.device) -> torch.autocast:
    """Context manager: layers compute in a dtype; float32 leaves them as they are."""
    # No cache: values cached by a recording do not exist when it is repeated.
    lower = dtype != torch.float32
    return torch.autocast(device.type, dtype, enabled=lower, cache_enabled=False)


def dtype_name(dtype: torch.dtype) -> str:
    """Returns the name of a dtype without its module, such as bfloat16."""
    return str(dtype).removeprefix('torch.')


def _cpu_has_amx() -> bool:
    supported = getattr(torch.cpu, '_is_amx_tile_supported', None)
    if supported is not None:
        return bool(supported())
    return 'amx_bf16' in cpu_flags()  # PyTorch before 2.5


def product_seconds(dtypes: list[torch.dtype]) -> list[float]:
    """Times a matrix product of the size of a 3x3 convolution of 64 channels, in each dtype."""
    pairs = [
        (torch.ones(1024, 576, dtype=dtype), torch.ones(576, 64, dtype=dtype)) for dtype in dtypes
    ]
    works = [partial(torch.mm, *pair) for pair in pairs]
    # The best of some tries, so that other load of the machine has little effect.
    tries = [median_seconds(works) for _ in range(3)]
    return [min(times) for times in zip(*tries, strict=True)]


def reason_for_float32(
    dtype: torch.dtype, seconds: Callable[[list[torch.dtype]], list[float]] = product_seconds
) -> str:
    """Returns the reason to compute in float32 instead of a dtype on the CPU; '' for none.

    Args:
        dtype: float32, bfloat16 or float16.
        seconds: function that measures the time of a matrix product in each of several dtypes.
    """
    if dtype == torch.float32:
        return ''
    lower, full = seconds([dtype, torch.float32])
    if lower <= full:
        return ''
    name = dtype_name(dtype)
    return f'matrix products in {name} take {lower / full:.1f} times as long on this CPU'


def median_seconds(works: Sequence[Callable[[], Any]]) -> list[float]:
    """Measures the median time of each function, called in turn; first calls do not count."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(_ROUNDS + 1):
        for work, seconds in zip(works, times, strict=True):
            begin = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - begin)
    return [sorted(seconds[1:])[_ROUNDS // 2] for seconds in times]


class _Tf32Switch:
    """Switches TF32 off while any thread computes, as its settings hold for the whole process."""

    def __init__(self) -> None:
        self._lock, self._users = Lock(), 0
        self._before: list[tuple[Any, str, Any]] = []

    def enter(self) -> None:
        with self._lock:
            if self._users == 0:
                # All are read first, as some change others.
                self._before = list(_readable_settings())
                for owner, name, value in _ieee_settings():
                    setattr(owner, name, value)
            self._users += 1

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                for owner, name, value in self._before:
                    setattr(owner, name, value)


def _readable_settings() -> Iterator[tuple[Any, str, Any]]:
    for owner, name, _ in _ieee_settings():
        try:
            yield owner, name, getattr(owner, name)
        except RuntimeError:  # the old name, where the user set the new ones
            continue


def _ieee_settings() -> list[tuple[Any, str, Any]]:
    """Returns owner, name and value of each setting with which float32 is not rounded to TF32."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    settings: list[tuple[Any, str, Any]] = [(cudnn, 'allow_tf32', False)]
    if hasattr(cudnn, 'conv'):
        # PyTorch 2.9 and later; recurrent layers too, as else the old name is unreadable.
        owners: list[Any] = [cudnn.conv, cudnn.rnn, matmul]
        return settings + [(owner, 'fp32_precision', 'ieee') for owner in owners]
    return [*settings, (matmul, 'allow_tf32', False)]


_tf32_switch = _Tf32Switch()


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Context manager: float32 convolutions and products on CUDA are not rounded to TF32.

    PyTorch's defaults, TF32 (10 bits) for convolutions and float32 for products, would make the
    dense and the sparse path differ. A CUDA graph that is recorded inside keeps full float32.

    Args:
        device: device of the computation; on other devices than CUDA nothing changes.
    """
    if device.type != 'cuda':
        yield
        return
    _tf32_switch.enter()
    try:
        yield
    finally:
        _tf32_switch.leave()
