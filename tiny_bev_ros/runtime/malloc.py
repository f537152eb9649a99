# SPDX-License-Identifier: Apache-2.0
"""How glibc's allocator treats large blocks: tensors on their way, activations of a network.

A block above a threshold is mapped for each call and unmapped after it, so that every 4 KB of it
cost a page fault, again and again: up to a factor of 2 on dense frames, and of 2.5 on the way of
a message. The threshold moves up to 32 MB by itself, no further.
"""

from __future__ import annotations

import ctypes
import os
import sys

# malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
# By which users tune it themselves; see mallopt(3).
VARIABLES = (
    'MALLOC_MMAP_MAX_',
    'MALLOC_MMAP_THRESHOLD_',
    'MALLOC_TOP_PAD_',
    'MALLOC_TRIM_THRESHOLD_',
)


def configure_malloc() -> bool:
    """Lets this process keep the memory of large blocks that it has freed, for the next ones.

    Returns:
        Whether it does: not where the user has set one of the MALLOC_ variables or glibc's
        tunables, nor where there is no glibc.
    """
    tuned = 'glibc.malloc' in os.environ.get('GLIBC_TUNABLES', '')
    if tuned or any(name in os.environ for name in VARIABLES) or sys.platform != 'linux':
        return False
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)  # other C libraries have none
    if mallopt is None:
        return False
    # One arena for all threads: what one of them has freed serves the others. Else a node whose
    # networks are made now in this thread, now in that, grows for hours.
    return bool(
        mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, -1) and mallopt(_M_ARENA_MAX, 1)
    )


def trim_malloc() -> None:
    """Gives memory that has been freed back to the system, whatever `configure_malloc` has set."""
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None) if sys.platform == 'linux' else None
    if trim is not None:
        trim(0)
