# SPDX-License-Identifier: Apache-2.0
"""What a process does to itself before it sends or receives large tensors."""

from __future__ import annotations

import os

from tiny_bev_ros.runtime.malloc import configure_malloc
from tiny_bev_ros.runtime.shared_memory import enlarge_shared_memory


def tune_process() -> str:
    """Makes this process fit for large tensors; call it before `rclpy.init`, best of all first.

    Fast DDS gets room in shared memory, freed memory stays with the process, and the idle
    threads of PyTorch, unless that is loaded already, sleep at once: they would spin for a while
    on the cores that the next process needs. What the user has set in the environment stays.

    Returns:
        '' or a line that says what is short, and the remedy.
    """
    configure_malloc()
    os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
    return enlarge_shared_memory()
