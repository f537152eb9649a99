# SPDX-License-Identifier: Apache-2.0
"""What a process does to itself before it sends or receives large tensors."""

from __future__ import annotations

from tiny_bev_ros.transport.allocator import keep_memory
from tiny_bev_ros.transport.shared_memory import enlarge_shared_memory


def tune_process() -> str:
    """Shared memory and allocator fit for large tensors; call it before `rclpy.init`.

    What the user has set in the environment stays.

    Returns:
        '' or a line that says what is short, and the remedy.
    """
    keep_memory()
    return enlarge_shared_memory()
