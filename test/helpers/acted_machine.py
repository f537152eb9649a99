# SPDX-License-Identifier: Apache-2.0
"""State of CUDA devices that are acted out on the CPU; see acted_cuda.py."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch.utils._pytree import tree_flatten


class Machine:
    """What the acted devices hold and have done.

    Args:
        devices: how many there are.
        memory: bytes of each.

    Attributes:
        current: index of the device that is taken where none is named.
        launches: operations that a GPU would have been given, by name.
        waits: how often the host waited for the device, by cause.
        where: how often the host waited, by cause and line of the package.
        copied: bytes, 'to device' and 'to host'.
        allocated, peak: bytes that tensors hold now, and held at most.
        share: of the memory that may be taken, by device.
        broken: raised by all that is done, as after an error that loses the CUDA context.
        flags: read at each launch of a convolution ('conv') or a product ('matmul').
    """

    def __init__(self, devices: int, memory: int) -> None:
        self.devices, self.memory = devices, memory
        self.current = 0
        self.launches: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self.where: Counter[tuple[str, str]] = Counter()
        self.copied: Counter[str] = Counter()
        self.allocated = self.peak = 0
        self.share = dict.fromkeys(range(devices), 1.0)
        self.broken: Exception | None = None
        self.flags: dict[str, set[Any]] = {'conv': set(), 'matmul': set()}
        # One tick for each launch; the host knows of those before `known`.
        self.ticks = self.known = 0
        self.recording: Recording | None = None

    def reset(self) -> None:
        """Forgets what was counted."""
        for counter in (self.launches, self.waits, self.where, self.copied):
            counter.clear()
        for seen in self.flags.values():
            seen.clear()
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
        self.waits[cause] += 1
        self.where[cause, _line_of_package()] += 1
        self.known = self.ticks

    def check(self) -> None:
        """Raises what is broken."""
        if self.broken is not None:
            raise self.broken

    def fail(self, text: str) -> NoReturn:
        """Raises as PyTorch does for an error of CUDA."""
        raise getattr(torch, 'AcceleratorError', RuntimeError)(f'CUDA error: {text}')

    def is_recording(self) -> bool:
        """Whether this thread records a graph."""
        return self.recording is not None and self.recording.thread == threading.get_ident()

    def take(self, size: int, index: int) -> Block:
        """Allocates, or raises that memory is short."""
        self.check()
        if self.allocated + size > self.memory * self.share[index]:
            raise torch.cuda.OutOfMemoryError(
                f'CUDA out of memory. Tried to allocate {size / 2**20:.2f} MiB. '
                f'GPU {index} has a total capacity of {self.memory / 2**20:.0f} MiB'
            )
        self.allocated += size
        self.peak = max(self.peak, self.allocated)
        return Block(self, size)


class Block:
    """Memory of the device, given back with the last tensor that lies in it."""

    def __init__(self, machine: Machine, size: int) -> None:
        self._machine, self._size = machine, size

    def __del__(self) -> None:
        self._machine.allocated -= self._size


class Recording:
    """The operations of a CUDA graph.

    Attributes:
        thread: that records.
    """

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self._steps: list[tuple[Callable[..., Any], Any, Any, Any]] = []
        self._before: list[tuple[torch.Tensor, torch.Tensor]] = []

    def mutates(self, target: torch.Tensor) -> None:
        """Notes what an operation is about to change: while it is recorded it does not."""
        self._before.append((target, target.clone()))

    def add(self, func: Callable[..., Any], args: Any, kwargs: Any, out: Any) -> None:
        """Notes an operation and where its result lies; None where it is an argument."""
        self._steps.append((func, args, kwargs, out))

    def end(self) -> None:
        """Leaves tensors as a recording does: nothing was computed."""
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
    """The innermost line of the package that is at work."""
    frame = sys._getframe()
    while frame.f_back is not None:
        if 'tiny_bev_ros/tiny_bev_ros' in (path := frame.f_code.co_filename):
            return f'{path.rpartition("tiny_bev_ros/")[2]}:{frame.f_lineno}'
        frame = frame.f_back
    return ''
