# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Timestamps by the clock of the device on which the networks run."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import torch


class DeviceTimestamp:
    """Timestamp taken now, on the host and in the queue of a device.

    On CUDA the host runs ahead of the device, so that its clock would time launches. An event in
    the queue does not block the host; its time can be read once the results are on the host.

    Args:
        device: device whose work is timed.
    """

    def __init__(self, device: torch.device) -> None:
        self._seconds = time.perf_counter()
        self._event: Any = None
        if device.type == 'cuda':
            self._event = torch.cuda.Event(enable_timing=True)
            self._event.record(torch.cuda.current_stream(device))

    def wait(self) -> None:
        """Waits until the device has reached the timestamp."""
        if self._event is not None:
            self._event.synchronize()

    def ms_until(self, later: DeviceTimestamp) -> float:
        """Returns the milliseconds to a later timestamp; the device has reached both."""
        if self._event is None:
            return (later._seconds - self._seconds) * 1e3
        elapsed: float = self._event.elapsed_time(later._event)
        return elapsed


def timestamp_on(device: torch.device) -> DeviceTimestamp | None:
    """Takes a timestamp on a CUDA device, which the host does not wait for; None on the CPU."""
    return DeviceTimestamp(device) if device.type == 'cuda' else None


class StageTimer:
    """Times consecutive stages of work on one device, the first of which begins now.

    Args:
        device: device on which the stages run.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._names = device, list[str]()
        self._timestamps = [DeviceTimestamp(device)]

    def lap(self, stage: str) -> None:
        """Ends a stage; the next one begins."""
        self._names.append(stage)
        self._timestamps.append(DeviceTimestamp(self._device))

    def seconds(self) -> dict[str, float]:
        """Returns the time of each stage, when the device has finished the last one."""
        self._timestamps[-1].wait()
        spent = [begin.ms_until(end) / 1e3 for begin, end in pairwise(self._timestamps)]
        return dict(zip(self._names, spent, strict=True))
