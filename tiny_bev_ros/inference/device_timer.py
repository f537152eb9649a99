# SPDX-License-Identifier: Apache-2.0
"""Moments between which a device worked, by its own clock."""

from __future__ import annotations

import time
from typing import Any

import torch


class DeviceTimestamp:
    """Now, for the host and in the queue of a device.

    On CUDA the host is ahead of the device, so that its clock would time launches. An event in
    the queue costs no waiting; once results are on the host, it can be read.

    Args:
        device: that works.
    """

    def __init__(self, device: torch.device) -> None:
        self._seconds = time.perf_counter()
        self._event: Any = None
        if device.type == 'cuda':
            self._event = torch.cuda.Event(enable_timing=True)
            self._event.record(torch.cuda.current_stream(device))

    def wait(self) -> None:
        """Returns when the device has come so far, at once where its results were awaited."""
        if self._event is not None:
            self._event.synchronize()

    def ms_until(self, later: DeviceTimestamp) -> float:
        """Milliseconds to another moment of the device; both have come."""
        if self._event is None:
            return (later._seconds - self._seconds) * 1e3
        elapsed: float = self._event.elapsed_time(later._event)
        return elapsed


def timestamp_on(device: torch.device) -> DeviceTimestamp | None:
    """A moment of a device that the host does not wait for; None on the CPU."""
    return DeviceTimestamp(device) if device.type == 'cuda' else None
