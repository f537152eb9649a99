# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Threads for kernels that release the interpreter lock."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch


class WorkerPool:
    """Threads that share blocks of work; a single one is the caller itself.

    Args:
        threads: number of threads.

    Attributes:
        threads: number of threads.
        local: thread-local values, for buffers that all work on a thread shares.
    """

    def __init__(self, threads: int) -> None:
        # Each thread multiplies alone: PyTorch's own threads would be a second pool on the same
        # cores. PyTorch keeps its thread count per thread, hence the initializer.
        self.threads = threads
        self.local = threading.local()
        self._pool = (
            ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
            if threads > 1
            else None
        )

    def block_size(self, total: int, most: int) -> int:
        """Returns the size of blocks of which each thread gets equally many.

        Args:
            total: size of all work, above 0.
            most: largest size of a block.
        """
        rounds = -(-total // (most * self.threads))
        return -(-total // (rounds * self.threads))

    def run(self, work: Callable[[Any], Any], blocks: Iterable[Any]) -> None:
        """Calls a function with each block, on all threads."""
        if self._pool is None:
            for block in blocks:
                work(block)
            return
        waiting = deque(blocks)

        def run_waiting() -> None:
            while waiting:
                try:
                    block = waiting.popleft()
                except IndexError:  # Another thread took the last one.
                    return
                work(block)

        # One task per thread, not per block: the caller would wake up for each task.
        for task in [self._pool.submit(run_waiting) for _ in range(self.threads)]:
            task.result()
