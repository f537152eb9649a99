# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Memory of a device: errors of shortage, free memory, and a limit for PyTorch."""

from __future__ import annotations

import errno
import gc
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch

from tiny_bev_ros.errors import TinyBevError, first_line
from tiny_bev_ros.inference.device_errors import causes, is_device_error
from tiny_bev_ros.inference.precision import full_float32

# Messages of libraries that have no exception type for shortage: PyTorch's CPU allocator, oneDNN,
# cuDNN (which then finds no engine) and CUDA's libraries (which then cannot create a handle). The
# word 'memory' alone would match 'illegal memory access'.
_SHORTAGE = re.compile(
    r'out of memory|OUT_OF_MEMORY|not enough memory|bad_alloc|could not create a memory'
    r"|(can't|cannot|failed to) allocate|memory allocation failed|unable to find an engine"
    r'|ALLOC(ATION)?_FAILED|INSUFFICIENT_RESOURCES|_STATUS_NOT_INITIALIZED',
    re.IGNORECASE,
)
# cudaErrorMemoryAllocation, the code of a torch.AcceleratorError.
_SHORTAGE_CODE = 2
# Bytes that PyTorch may take, by device, where they are limited.
_limits: dict[torch.device, int] = {}
_MEMINFO = Path('/proc/meminfo')
_CGROUP = Path('/sys/fs/cgroup')


class NotEnoughMemoryError(TinyBevError):
    """An input, or the networks, need more memory than is free."""


def shortage(error: BaseException) -> str:
    """Returns the first line of an out-of-memory error; '' for any other error.

    Args:
        error: error that is, or was caused by, an out-of-memory error.
    """
    for cause in causes(error):
        short = (
            isinstance(cause, (MemoryError, torch.cuda.OutOfMemoryError))
            or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM)
            or getattr(cause, 'error_code', None) == _SHORTAGE_CODE
            or (isinstance(cause, RuntimeError) and _SHORTAGE.search(str(cause)))
        )
        if short:
            return first_line(cause)
    return ''


@contextmanager
def translate_oom(subject: str) -> Iterator[None]:
    """Context manager: raises out-of-memory errors as NotEnoughMemoryError, in one line.

    Raises:
        NotEnoughMemoryError: memory was short for ``subject``.
    """
    try:
        yield
    except (RuntimeError, MemoryError, OSError) as error:
        reason = shortage(error)
        if not reason:
            raise
        raise NotEnoughMemoryError(f'there is not enough memory for {subject}: {reason}') from None


@contextmanager
def computing(subject: str, device: torch.device) -> Iterator[None]:
    """Context manager of each stage: `translate_oom`, and on CUDA `full_float32`.

    Raises:
        NotEnoughMemoryError: memory was short for ``subject``.
    """
    rounding = full_float32(device) if device.type == 'cuda' else nullcontext()
    with translate_oom(subject), rounding:
        yield


def expect_free(needed: int, device: torch.device, subject: str) -> None:
    """Refuses work that needs more memory than is free: the system would end the process.

    Args:
        needed: bytes that the work needs.
        device: device of the work.
        subject: name of the work, for the message.

    Raises:
        NotEnoughMemoryError: less is free.
    """
    free = free_bytes(device)
    if needed > free:
        raise NotEnoughMemoryError(
            f'{subject} takes {needed / 2**20:.0f} MiB; expected at most {free / 2**20:.0f}, '
            'which are free'
        )


def limit_device_memory(device: torch.device, budget_mb: int) -> None:
    """Limits the memory that PyTorch takes of a CUDA device; beyond it memory counts as short.

    Args:
        device: device of the networks.
        budget_mb: limit in MiB; 0 for none. CUDA itself takes a few hundred MiB more.

    Raises:
        TinyBevError: the device has less memory than the limit.
    """
    if device.type != 'cuda':
        return
    total = torch.cuda.get_device_properties(device).total_memory
    if budget_mb * 2**20 > total:
        raise TinyBevError(
            f'memory_budget_mb is {budget_mb}; '
            f'expected at most {total // 2**20}, which {device} has'
        )
    fraction = budget_mb * 2**20 / total if budget_mb else 1.0
    torch.cuda.set_per_process_memory_fraction(fraction, device)
    _limits[device] = budget_mb * 2**20 or total


def device_memory_mb(device: torch.device) -> float:
    """Returns the MiB that PyTorch holds on a CUDA device; 0 on the CPU."""
    return torch.cuda.memory_reserved(device) / 2**20 if device.type == 'cuda' else 0.0


def free_bytes(device: torch.device) -> int:
    """Returns the bytes of a device's memory that are free.

    On CUDA, memory that PyTorch holds and does not use counts as free, and the limit of
    `limit_device_memory` applies; on the CPU, that of the container, if it has one.
    """
    if device.type == 'cuda':
        used = torch.cuda.memory_allocated(device) + _bytes_of_graphs(device)
        kept = torch.cuda.memory_reserved(device) - used
        free = torch.cuda.mem_get_info(device)[0] + kept
        return min(free, _limits[device] - used) if device in _limits else free
    return min([_available_bytes(), *_container_bytes()])


def _bytes_of_graphs(device: torch.device) -> int:
    """Returns the bytes that only recorded CUDA graphs can use, beside their tensors."""
    return sum(
        segment['total_size'] - segment['allocated_size']
        for segment in torch.cuda.memory_snapshot()
        if segment['device'] == device.index and any(segment.get('segment_pool_id', ()))
    )


def _available_bytes() -> int:
    """Returns the bytes that are available by /proc/meminfo; sys.maxsize without that file."""
    try:
        lines = _MEMINFO.read_text().splitlines()
    except OSError:
        return sys.maxsize
    return next(
        (int(line.split()[1]) * 1024 for line in lines if line.startswith('MemAvailable:')),
        sys.maxsize,
    )


def _container_bytes() -> list[int]:
    """Returns the bytes that a control group leaves free, where one limits this process."""
    try:
        most = (_CGROUP / 'memory.max').read_text().strip()
        used = int((_CGROUP / 'memory.current').read_text())
        files = re.search(r'^inactive_file (\d+)$', (_CGROUP / 'memory.stat').read_text(), re.M)
    except (OSError, ValueError):
        return []
    # Cached files are dropped when memory is needed.
    spare = int(files[1]) if files else 0
    return [int(most) - used + spare] if most.isdecimal() else []


def free_caches(device: torch.device) -> None:
    """Frees memory that is cached and not used."""
    gc.collect()
    if device.type != 'cuda':
        return
    try:
        torch.cuda.empty_cache()
    except RuntimeError as error:
        # A lost device has nothing to free; its next use raises the error.
        if not is_device_error(error):
            raise
