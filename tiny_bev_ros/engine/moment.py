# SPDX-License-Identifier: Apache-2.0
"""Moments between which a device worked, by its own clock."""

from __future__ import annotations

import time
from typing import Any

import torch


class Moment:
    """Now, for the host and in the queue of a device.

    On CUDA the host is ahead of the device, so that its clock would time launches. An event in
    the queue costs no waiting; once results are on the host, it can be read.

    Args:
        device: that works.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._seconds = device, time.perf_counter()
        self._event: Any = None
        if device.type == 'cuda':
            self._event = torch.cuda.Event(enable_timing=True)
            self._event.record(torch.cuda.current_stream(device))

    def wait(self) -> None:
        """Returns when the device has come so far, at once where its results were awaited."""
        if self._event is not None:
            self._event.synchronize()

    def ms_until(self, later: Moment) -> float:
        """Milliseconds between two moments that have come.

        By the host's clock on the CPU, and where the work went from one device to another.
        """
        if self._event is None or later._device != self._device:
            return (later._seconds - self._seconds) * 1e3
        elapsed: float = self._event.elapsed_time(later._event)
        return elapsed
