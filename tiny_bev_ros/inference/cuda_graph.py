# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Recording of the launches of a CUDA device as a graph, which repeats them in one launch."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from tiny_bev_ros.errors import first_line
from tiny_bev_ros.inference.device_errors import device_is_lost
from tiny_bev_ros.inference.memory import shortage

Result = TypeVar('Result')
# Function that records work as a graph, and returns a function that repeats the work, and the
# result of the work, whose tensors the repetitions overwrite.
Capture = Callable[[Callable[[], Any]], tuple[Callable[[], None], Any]]


class RecordedWork(Generic[Result]):
    """Work on tensors that are kept, recorded at its first call and repeated at later ones.

    The work must read and write the same tensors at each call, and must not wait for the device.
    Where it cannot be recorded, a warning gives the reason and each call runs it anew.

    Args:
        work: function of no arguments; returns a tensor or a structure of tensors.
        device: device of the tensors.
        capture: function that records; None for work that is run anew at each call.

    Attributes:
        no_graph_reason: reason for which the work could not be recorded; '' for none.
    """

    def __init__(
        self, work: Callable[[], Result], device: torch.device, capture: Capture | None
    ) -> None:
        self.no_graph_reason = ''
        self._work: Callable[[], Result] | None = work
        self._device, self._capture = device, capture
        self._replay: Callable[[], None] | None = None
        self._result: Any = None

    def __call__(self) -> Result:
        """Runs the work; where it is recorded, the next call overwrites the result.

        Raises:
            RuntimeError: memory is short, or the device is lost.
        """
        self.record()
        if self._work is not None:
            return self._work()
        assert self._replay is not None
        self._replay()
        result: Result = self._result
        return result

    @property
    def is_recorded(self) -> bool:
        """True once a recording is repeated."""
        return self._replay is not None

    def record(self) -> None:
        """Records the work, unless it is recorded or cannot be.

        Raises:
            RuntimeError: memory is short, or the device is lost.
        """
        if self._capture is None or self._work is None:
            return
        try:
            self._replay, self._result = self._capture(self._work)
        except (RuntimeError, TypeError) as error:  # TypeError: PyTorch before 2.1
            # Neither of these errors is caused by the recording.
            if shortage(error) or device_is_lost(error, self._device):
                raise
            self._capture = None
            self.no_graph_reason = first_line(error)
            warnings.warn(f'no CUDA graph: {self.no_graph_reason}', stacklevel=3)
        else:
            # Work often refers to the owner of this object: that cycle would keep both.
            self._work = None


class ResultCopies:
    """Copies of the results of a recording; each is overwritten by the second next one."""

    def __init__(self) -> None:
        self._copies: list[Tensor] = []

    def __call__(self, result: Tensor) -> Tensor:
        """Copies a result, whose shape, dtype and memory format are those of the first."""
        if not self._copies:
            self._copies = [torch.empty_like(result) for _ in range(2)]
        self._copies.reverse()
        return self._copies[0].copy_(result)


def capture_on(device: torch.device) -> Capture | None:
    """Returns the function that records work on a device; None where nothing is recorded."""
    return partial(cuda_graph, device) if device.type == 'cuda' else None


def cuda_graph(device: torch.device, work: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    """Records work on a CUDA device as a graph.

    Returns:
        Function that repeats the work, and the result of the work.

    Raises:
        RuntimeError: the work cannot be recorded, or memory is short.
    """
    with torch.cuda.device(device):
        # Libraries choose their algorithms on the first runs, which must not be recorded.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                work()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Only this thread: others of the process may allocate meanwhile.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode='thread_local'):
            result = work()
    return graph.replay, result
