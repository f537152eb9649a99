# SPDX-License-Identifier: Apache-2.0
"""Memory of a device: when it counts as short, how much is free, how much may be taken."""

from __future__ import annotations

import errno
import gc
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.device_errors import causes, is_device_error

# Messages of libraries whose shortage has no exception type: PyTorch's CPU allocator and
# oneDNN; cuDNN, which then finds no engine either; and all of CUDA's, which cannot make a handle
# where memory is short. 'memory' alone is also in 'illegal memory access'.
_SHORT = re.compile(
    r'out of memory|OUT_OF_MEMORY|not enough memory|bad_alloc|could not create a memory'
    r"|(can't|cannot|failed to) allocate|memory allocation failed|unable to find an engine"
    r'|ALLOC(ATION)?_FAILED|INSUFFICIENT_RESOURCES|_STATUS_NOT_INITIALIZED',
    re.IGNORECASE,
)
# cudaErrorMemoryAllocation, as torch.AcceleratorError tells it.
_CODE = 2
# Bytes that PyTorch may take, by device, where that is limited.
_limits: dict[torch.device, int] = {}
_MEMINFO = Path('/proc/meminfo')
_CGROUP = Path('/sys/fs/cgroup')


class NotEnoughMemoryError(TinyBevError):
    """Some input needs more memory than there is."""


def shortage(error: BaseException) -> str:
    """A line for an error that says, or was raised by one that says, that memory is short.

    Returns:
        '' for any other error.
    """
    for each in causes(error):
        short = (
            isinstance(each, (MemoryError, torch.cuda.OutOfMemoryError))
            or (isinstance(each, OSError) and each.errno == errno.ENOMEM)
            or getattr(each, 'error_code', None) == _CODE
            or (isinstance(each, RuntimeError) and _SHORT.search(str(each)))
        )
        if short:
            return str(each).strip().partition('\n')[0] or type(each).__name__
    return ''


@contextmanager
def translate_oom(what: str) -> Iterator[None]:
    """Makes one line of PyTorch's out of memory: one large input must not end a node.

    Raises:
        NotEnoughMemoryError: memory was short for ``what``.
    """
    try:
        yield
    except (RuntimeError, MemoryError, OSError) as error:
        reason = shortage(error)
        if not reason:
            raise
        raise NotEnoughMemoryError(f'there is not enough memory for {what}: {reason}') from None


def expect_free(needed: int, device: torch.device, what: str) -> None:
    """Refuses what is known to need more than there is: the system would end the process.

    Raises:
        NotEnoughMemoryError: there is less.
    """
    free = free_bytes(device)
    if needed > free:
        raise NotEnoughMemoryError(
            f'{what} takes {needed / 2**20:.0f} MiB; expected at most {free / 2**20:.0f}, '
            'which are free'
        )


def limit_device_memory(device: torch.device, budget_mb: int) -> None:
    """Lets PyTorch take at most so much of a CUDA device; beyond it memory counts as short.

    Args:
        device: where to compute.
        budget_mb: MiB; 0 for all there is. CUDA itself takes some hundred more.

    Raises:
        TinyBevError: the device has less.
    """
    if device.type != 'cuda':
        return
    total = torch.cuda.get_device_properties(device).total_memory
    if budget_mb * 2**20 > total:
        raise TinyBevError(
            f'memory_budget_mb is {budget_mb}; '
            f'expected at most {total // 2**20}, which {device} has'
        )
    share = budget_mb * 2**20 / total if budget_mb else 1.0
    torch.cuda.set_per_process_memory_fraction(share, device)
    _limits[device] = budget_mb * 2**20 or total


def device_memory_mb(device: torch.device) -> float:
    """MiB that PyTorch holds on a CUDA device; 0 on the CPU."""
    return torch.cuda.memory_reserved(device) / 2**20 if device.type == 'cuda' else 0.0


def free_bytes(device: torch.device) -> int:
    """Bytes that may still be taken of a device's memory.

    On CUDA with what PyTorch holds there and does not use, within the budget; on the CPU within
    the limit of the container, if there is one.
    """
    if device.type == 'cuda':
        used = torch.cuda.memory_allocated(device)
        kept = torch.cuda.memory_reserved(device) - used
        free = torch.cuda.mem_get_info(device)[0] + kept
        return min(free, _limits[device] - used) if device in _limits else free
    return min([_available_bytes(), *_container_bytes()])


def _available_bytes() -> int:
    """Bytes that the system has; no bound where only Linux would tell them."""
    try:
        lines = _MEMINFO.read_text().splitlines()
    except OSError:
        return sys.maxsize
    return next(
        (int(line.split()[1]) * 1024 for line in lines if line.startswith('MemAvailable:')),
        sys.maxsize,
    )


def _container_bytes() -> list[int]:
    """Bytes that a control group leaves, where one limits this process and can be read."""
    try:
        most = (_CGROUP / 'memory.max').read_text().strip()
        used = int((_CGROUP / 'memory.current').read_text())
        files = re.search(r'^inactive_file (\d+)$', (_CGROUP / 'memory.stat').read_text(), re.M)
    except (OSError, ValueError):
        return []
    # Cached files give way.
    spare = int(files[1]) if files else 0
    return [int(most) - used + spare] if most.isdecimal() else []


def free_caches(device: torch.device) -> None:
    """Gives back what nobody uses any more."""
    gc.collect()
    if device.type != 'cuda':
        return
    try:
        torch.cuda.empty_cache()
    except RuntimeError as error:
        # A device that is lost has nothing to give back; whoever uses it next is told.
        if not is_device_error(error):
            raise
