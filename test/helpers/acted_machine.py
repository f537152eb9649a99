# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""State of CUDA devices that are acted out on the CPU; see acted_cuda.py."""

from __future__ import annotations

import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch.utils._pytree import tree_flatten

import tiny_bev_ros

# Folder of the package, with a slash at its end.
_PACKAGE = f'{Path(tiny_bev_ros.__file__).parent}/'
# Causes of waits that PyTorch's sync debug mode does not report.
_UNREPORTED = {'event', 'synchronize', 'capture'}


class Machine:
    """State of the acted devices, with counts of their work.

    Args:
        devices: number of devices.
        memory: bytes of memory of each device.

    Attributes:
        current: index of the device that is used where none is named.
        launches: number of operations that a GPU would have run, by name.
        waits: number of times the host waited for the device, by cause.
        wait_lines: number of times the host waited, by cause and line of the package.
        copied: number of copied bytes, 'to device' and 'to host'.
        allocated, peak: bytes that tensors hold now, and held at most.
        memory_fraction: fraction of the memory that may be allocated, by device.
        broken: exception of every call, as after an error that loses the CUDA context.
        sync_debug_mode: number of PyTorch's mode for waits: 0 for none, 1 to warn, 2 to raise.
        flags: values of the TF32 flag at launches of convolutions ('conv') and matrix products
            ('matmul').
    """

    def __init__(self, devices: int, memory: int) -> None:
        self.devices, self.memory = devices, memory
        self.current = 0
        self.launches: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self.wait_lines: Counter[tuple[str, str]] = Counter()
        self.copied: Counter[str] = Counter()
        self.allocated = self.peak = 0
        self.memory_fraction = dict.fromkeys(range(devices), 1.0)
        self.broken: Exception | None = None
        self.sync_debug_mode = 0
        self.flags: dict[str, set[Any]] = {'conv': set(), 'matmul': set()}
        # Copies to the host that are under way: the tensor of the host and its values.
        self._under_way: list[tuple[torch.Tensor, torch.Tensor]] = []
        # Each launch takes one tick; the host knows that those before `known` are done.
        self.ticks = self.known = 0
        self.recording: Recording | None = None

    def reset(self) -> None:
        """Sets all counts to zero."""
        for counter in (self.launches, self.waits, self.wait_lines, self.copied):
            counter.clear()
        for values in self.flags.values():
            values.clear()
        self.peak = self.allocated

    def launch(self, name: str) -> None:
        """Counts an operation."""
        self.check()
        self.launches[name] += 1
        self.ticks += 1

    def wait(self, cause: str) -> None:
        """Counts that the host waits for all that was launched."""
        self.check()
        if self.is_recording():
            self.fail('operation not permitted when stream is capturing')
        if cause not in _UNREPORTED:
            self._report_wait()
        self.waits[cause] += 1
        self.wait_lines[cause, _line_of_package()] += 1
        self.known = self.ticks
        with torch.inference_mode():
            for target, values in self._under_way:
                target.copy_(values)
        self._under_way.clear()

    def postpone(self, target: torch.Tensor) -> None:
        """Lets a copy to the host arrive with the next wait; wrong values are read before."""
        self._under_way.append((target, target.clone()))
        target.fill_(float('nan') if target.is_floating_point() else 0)

    def _report_wait(self) -> None:
        """Warns or raises as the sync debug mode asks."""
        text = 'called a synchronizing CUDA operation'
        if self.sync_debug_mode == 2:
            raise RuntimeError(text)
        if self.sync_debug_mode == 1:
            path, _, line = _line_of_package().rpartition(':')
            warnings.warn_explicit(text, UserWarning, path or '?', int(line or 0))

    def check(self) -> None:
        """Raises the error of a broken device."""
        if self.broken is not None:
            raise self.broken

    def fail(self, text: str) -> NoReturn:
        """Raises as PyTorch does for an error of CUDA."""
        raise getattr(torch, 'AcceleratorError', RuntimeError)(f'CUDA error: {text}')

    def is_recording(self) -> bool:
        """Returns whether this thread records a graph."""
        return self.recording is not None and self.recording.thread == threading.get_ident()

    def take(self, size: int, index: int) -> Block:
        """Allocates a block, or raises that memory is short."""
        self.check()
        if self.allocated + size > self.memory * self.memory_fraction[index]:
            raise torch.cuda.OutOfMemoryError(
                f'CUDA out of memory. Tried to allocate {size / 2**20:.2f} MiB. '
                f'GPU {index} has a total capacity of {self.memory / 2**20:.0f} MiB'
            )
        self.allocated += size
        self.peak = max(self.peak, self.allocated)
        if self.recording is not None:
            self.recording.peak = max(self.recording.peak, self.allocated)
        return Block(self, size)

    def keep(self, size: int) -> Block:
        """Holds memory for a graph, which repeats its work in it."""
        self.allocated += size
        return Block(self, size)


class Block:
    """Memory of the device, freed with the last tensor that lies in it."""

    def __init__(self, machine: Machine, size: int) -> None:
        self._machine, self._size = machine, size

    def __del__(self) -> None:
        self._machine.allocated -= self._size


class Recording:
    """Operations of a CUDA graph.

    Attributes:
        thread: identifier of the thread that records.
        peak: bytes that tensors held at most while it was recorded.
    """

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.peak = 0
        self._steps: list[tuple[Callable[..., Any], Any, Any, Any]] = []
        self._before: list[tuple[torch.Tensor, torch.Tensor]] = []

    def mutates(self, target: torch.Tensor) -> None:
        """Keeps the values of a tensor that an operation changes: recording must not change it."""
        self._before.append((target, target.clone()))

    def add(self, func: Callable[..., Any], args: Any, kwargs: Any, out: Any) -> None:
        """Appends an operation with its result; None where the result is an argument."""
        self._steps.append((func, args, kwargs, out))

    def end(self) -> None:
        """Resets all tensors: a recording computes nothing."""
        for target, before in reversed(self._before):
            target.copy_(before)
        for *_, out in self._steps:
            for each in tree_flatten(out)[0]:
                if isinstance(each, torch.Tensor) and each.is_floating_point():
                    each.fill_(float('nan'))

    def replay(self) -> None:
        """Computes all of it again, into the same tensors."""
        for func, args, kwargs, out in self._steps:
            new = func(*args, **kwargs)
            for old, each in zip(tree_flatten(out)[0], tree_flatten(new)[0], strict=False):
                if isinstance(old, torch.Tensor):
                    old.copy_(each)

    def __len__(self) -> int:
        return len(self._steps)


def _line_of_package() -> str:
    """Returns the innermost line of the package on the stack."""
    frame = sys._getframe()
    while frame.f_back is not None:
        if (path := frame.f_code.co_filename).startswith(_PACKAGE):
            return f'{path.removeprefix(_PACKAGE)}:{frame.f_lineno}'
        frame = frame.f_back
    return ''
