# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Process settings for large tensors: allocator, idle threads, space in shared memory.

glibc maps each block above a threshold anew and unmaps it after use, so that each use costs a page
fault per 4 KB: up to a factor of 2 on dense frames, and of 2.5 in the transport of a message. The
threshold grows by itself, but only up to 32 MB.
"""

from __future__ import annotations

import ctypes
import os
import sys

from tiny_bev_ros.runtime.shared_memory import enlarge_shared_memory

# Options of mallopt, from malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
# Variables by which users configure malloc themselves; see mallopt(3).
MALLOC_VARIABLES = (
    'MALLOC_MMAP_MAX_',
    'MALLOC_MMAP_THRESHOLD_',
    'MALLOC_TOP_PAD_',
    'MALLOC_TRIM_THRESHOLD_',
)


def tune_process() -> str:
    """Prepares this process for large tensors.

    Call it before `rclpy.init`, and before the import of PyTorch.

    Fast DDS gets space in shared memory, and freed memory stays with the process. Idle threads of
    PyTorch, unless it is imported already, sleep at once instead of spinning on cores that the
    next process needs. Settings in the environment take precedence.

    Returns:
        '' or a line that names the shortage and the remedy.
    """
    configure_malloc()
    os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
    return enlarge_shared_memory()


def configure_malloc() -> bool:
    """Lets this process keep the memory of large freed blocks for the next ones.

    Returns:
        True if configured; False where the user has set one of MALLOC_VARIABLES or glibc's
        tunables, and where there is no glibc.
    """
    tuned = 'glibc.malloc' in os.environ.get('GLIBC_TUNABLES', '')
    if tuned or any(name in os.environ for name in MALLOC_VARIABLES) or sys.platform != 'linux':
        return False
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)  # other C libraries have none
    if mallopt is None:
        return False
    # One arena for all threads lets them reuse each other's memory. Otherwise a node whose
    # networks are built in changing threads grows for hours.
    return bool(
        mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, -1) and mallopt(_M_ARENA_MAX, 1)
    )


def trim_malloc() -> None:
    """Returns freed memory to the system, even after `configure_malloc`."""
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None) if sys.platform == 'linux' else None
    if trim is not None:
        trim(0)
