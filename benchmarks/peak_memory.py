# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Peak memory of a function, measured in a process of its own."""

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
    """Reads a memory field of this process, in MB.

    getrusage does not serve: its maximum includes that of the parent process.

    Args:
        field: VmRSS, the resident memory, or VmHWM, its peak.
    """
    status = Path('/proc/self/status').read_text()
    (kilobytes,) = re.findall(rf'{field}:\s+(\d+) kB', status)
    return int(kilobytes) / 1e3


def peak_mb(prepare: Callable[..., Callable[[], Any]], *arguments: Any, threads: int) -> float:
    """Measures the memory growth of a fresh process during one call, in MB.

    Freed memory does not count, as glibc is set to return it to the system at once.

    Args:
        prepare: returns the function to measure; must be picklable, a function of a module.
        *arguments: arguments of ``prepare``.
        threads: number of threads of PyTorch.
    """
    fresh = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(1, mp_context=fresh) as pool:
        return pool.submit(partial(_measured, prepare, *arguments), threads).result()


def _measured(prepare: Callable[..., Callable[[], Any]], *arguments: Any) -> float:
    *prepare_arguments, threads = arguments
    torch.set_num_threads(threads)
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)  # Other C libraries have none.
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _SMALL)
    with torch.inference_mode():
        work = prepare(*prepare_arguments)
        # The peak of the preparation does not count.
        Path('/proc/self/clear_refs').write_text('5')
        before = memory_mb('VmRSS')
        work()
        return memory_mb('VmHWM') - before
