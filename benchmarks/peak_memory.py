# SPDX-License-Identifier: Apache-2.0
"""How much memory a piece of work takes at its peak."""

from __future__ import annotations

import ctypes
import multiprocessing
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch

# M_MMAP_THRESHOLD of mallopt(3), and 64 KiB.
_MMAP_THRESHOLD, _SMALL = -3, 65536


def memory_mb(field: str) -> float:
    """VmRSS, what is resident now, or VmHWM, the most that was.

    Not getrusage: its maximum includes that of the process that started this one.
    """
    status = Path('/proc/self/status').read_text()
    (kilobytes,) = re.findall(rf'{field}:\s+(\d+) kB', status)
    return int(kilobytes) / 1e3


def peak_mb(prepare: Callable[..., Callable[[], Any]], *arguments: Any, threads: int) -> float:
    """Growth of a process of its own while it does the work once.

    What is let go of does not count, as it would where glibc keeps it.

    Args:
        prepare: makes what does the work; a function of a module, as it goes to that process.
        *arguments: of it.
        threads: of PyTorch.
    """
    fresh = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(1, mp_context=fresh) as pool:
        return pool.submit(partial(_measured, prepare, *arguments), threads).result()


def _measured(prepare: Callable[..., Callable[[], Any]], *arguments: Any) -> float:
    *given, threads = arguments
    torch.set_num_threads(threads)
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)  # other C libraries have none
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _SMALL)
    with torch.inference_mode():
        work = prepare(*given)
        # The peak of the preparation does not count.
        Path('/proc/self/clear_refs').write_text('5')
        before = memory_mb('VmRSS')
        work()
        return memory_mb('VmHWM') - before
