# SPDX-License-Identifier: Apache-2.0
"""How glibc's allocator treats the activations of a dense network.

A block above its threshold is mapped for each call and unmapped after it, so that every 4 KB of
a 55 MB activation cost a page fault, again and again: up to a factor of 2 on dense frames. The
threshold moves up to 32 MB by itself, no further. It is read when a process starts, so whoever
starts a node sets it.
"""

from __future__ import annotations

import os

# Beyond any activation; and memory that is free is kept for the next frame.
ALLOCATOR = {'MALLOC_MMAP_THRESHOLD_': str(4 * 2**30), 'MALLOC_TRIM_THRESHOLD_': str(8 * 2**30)}


def allocator_environment() -> dict[str, str]:
    """Environment variables for a node, less those that the user has set."""
    return {name: value for name, value in ALLOCATOR.items() if name not in os.environ}
