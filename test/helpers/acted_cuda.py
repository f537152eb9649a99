# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""CUDA device acted out on the CPU: real values, with the checks and the costs of a GPU.

Its tensors report the device `cuda:N` and cannot be mixed with others. Launches, waits of the
host and copied bytes are counted; memory is limited; a device without an index is refused where
PyTorch refuses it. Autocast is PyTorch's own. There are no gradients, all streams are one, and
a launch takes a tick of a microsecond.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from acted_machine import Block, Machine, Recording
from acted_tensor import Acted, factory, is_pinned, kernel_launch
from triton_interpreter import patch_launches

from tiny_bev_ros.optional_imports import import_optional

_FACTORIES = (
    'empty.memory_format', 'empty_strided', 'arange', 'arange.start', 'arange.start_step',
    'eye', 'eye.m', 'linspace',
)  # fmt: skip


@contextmanager
def acted_cuda(devices: int = 1, memory: int = 4 * 2**30) -> Iterator[Machine]:
    """Context manager: PyTorch has acted CUDA devices.

    Args:
        devices: number of devices.
        memory: bytes of memory of each device.
    """
    if torch.version.cuda is not None:
        pytest.skip('PyTorch is built for CUDA, in whose place none can be acted')
    machine = Machine(devices, memory)
    library = torch.library.Library('aten', 'IMPL')
    for name in _FACTORIES:
        base, _, overload = name.partition('.')
        op = getattr(getattr(torch.ops.aten, base), overload or 'default')
        library.impl(name, factory(op, machine), 'CUDA')
    overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with pytest.MonkeyPatch.context() as patch:
            _install_cuda(patch, machine)
            _install_conversions(patch)
            if import_optional('triton').module is not None:
                patch_launches(patch, partial(kernel_launch, machine))
            yield machine
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(overwrites)
        library._destroy()


def _install_cuda(patch: pytest.MonkeyPatch, machine: Machine) -> None:
    """Replaces the parts of torch.cuda that the package and PyTorch's Python code call."""

    def index_of(device: Any) -> int:
        index: int = torch.cuda._utils._get_device_index(device, optional=True)
        if index >= machine.devices:
            machine.fail('invalid device ordinal')
        return index

    def memory_info(device: Any = None) -> tuple[int, int]:
        index_of(device)
        return machine.memory - machine.allocated, machine.memory

    def allocated(device: Any = None) -> int:
        index_of(device)
        return machine.allocated

    def properties(device: Any = None) -> Any:
        name = f'acted GPU {index_of(device)}'
        return SimpleNamespace(name=name, total_memory=machine.memory, major=8, minor=6)

    def exchange(index: int) -> int:
        before = machine.current
        machine.current = index if index >= 0 else before
        return before

    def set_memory_fraction(fraction: float, index: int) -> None:
        machine.memory_fraction[index] = fraction

    def set_sync_debug_mode(mode: int) -> None:
        machine.sync_debug_mode = mode

    cuda = {
        '_lazy_init': lambda: None,
        'init': lambda: None,
        'is_initialized': lambda: True,
        'is_available': lambda: machine.devices > 0,
        'device_count': lambda: machine.devices,
        'current_device': lambda: machine.current,
        'is_bf16_supported': lambda *_, **__: True,
        'synchronize': lambda device=None: machine.wait('synchronize'),
        'get_device_properties': properties,
        'get_device_name': lambda device=None: properties(device).name,
        'get_device_capability': lambda device=None: (8, 6),
        'mem_get_info': memory_info,
        'memory_allocated': allocated,
        'memory_reserved': allocated,
        'max_memory_allocated': lambda device=None: machine.peak,
        'memory_snapshot': list,  # memory of graphs counts as allocated
        'memory_stats': lambda device=None: {'allocated_bytes.all.current': allocated(device)},
        'empty_cache': machine.check,
        '_exchange_device': exchange,
        '_maybe_exchange_device': exchange,
        'stream': nullcontext,
        'Stream': partial(Stream, machine),
        'current_stream': lambda device=None: Stream(machine, device),
        'Event': partial(Event, machine),
        'CUDAGraph': partial(CUDAGraph, machine),
        'graph': _graph,
        'is_current_stream_capturing': machine.is_recording,
    }
    for name, value in cuda.items():
        patch.setattr(torch.cuda, name, value)
    # PyTorch's own functions above them stay: they refuse a device without an index, and modes
    # without a meaning.
    for name, value in {
        '_cuda_setMemoryFraction': set_memory_fraction,
        '_cuda_set_sync_debug_mode': set_sync_debug_mode,
        '_cuda_get_sync_debug_mode': lambda: machine.sync_debug_mode,
    }.items():
        patch.setattr(torch._C, name, value, raising=False)


def _install_conversions(patch: pytest.MonkeyPatch) -> None:
    """Replaces conversions in which PyTorch would ask a CUDA library for the current device."""
    plain_to, plain_tensor, plain_as_tensor = torch.Tensor.to, torch.tensor, torch.as_tensor

    def indexed(value: Any) -> Any:
        if isinstance(value, str | torch.device) and torch.device(value) == torch.device('cuda'):
            return torch.device('cuda', torch.cuda.current_device())
        return value

    @torch.no_grad()  # as for a gradient PyTorch would ask CUDA for a stream
    def to(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        args = tuple(indexed(each) for each in args)
        return plain_to(self, *args, **{name: indexed(each) for name, each in kwargs.items()})

    def to_cuda(self: torch.Tensor, device: Any = 'cuda', non_blocking: bool = False) -> Any:
        device = torch.device('cuda', device) if isinstance(device, int) else device
        return to(self, device or 'cuda', non_blocking=non_blocking)

    def on_cpu_first(make: Any) -> Any:
        def made(data: Any, *, device: Any = None, **kwargs: Any) -> torch.Tensor:
            result: torch.Tensor = make(data, **kwargs)
            return result if device is None else result.to(device)

        return made

    def pin_memory(self: torch.Tensor) -> torch.Tensor:
        pinned = self.clone()
        pinned.acted_pinned = True  # type: ignore[attr-defined]
        return pinned

    patch.setattr(torch.Tensor, 'pin_memory', pin_memory)
    patch.setattr(torch.Tensor, 'is_pinned', is_pinned)
    patch.setattr(torch.Tensor, 'to', to)
    patch.setattr(torch.Tensor, 'cuda', to_cuda)
    patch.setattr(torch, 'tensor', on_cpu_first(plain_tensor))
    patch.setattr(torch, 'as_tensor', on_cpu_first(plain_as_tensor))


class Stream:
    """The only stream of a device.

    Attributes:
        cuda_stream: handle for libraries; 0 as that of CUDA's default stream.
    """

    cuda_stream = 0

    def __init__(self, machine: Machine, device: Any = None, **_: Any) -> None:
        self._machine = machine

    def wait_stream(self, other: Stream) -> None:
        """Changes nothing, as all streams are one."""
        self._machine.check()

    def wait_event(self, event: Event) -> None:
        """Changes nothing, as all streams are one."""
        self._machine.check()

    def synchronize(self) -> None:
        """Lets the host wait."""
        self._machine.wait('stream')


class Event:
    """Point between two launches on the device."""

    def __init__(self, machine: Machine, enable_timing: bool = False, **_: Any) -> None:
        self._machine, self._timing, self._tick = machine, enable_timing, -1

    def record(self, stream: Stream | None = None) -> None:
        """Puts the event after the last launch."""
        self._machine.check()
        self._machine.ticks += 1
        self._tick = self._machine.ticks

    def query(self) -> bool:
        """Returns whether the host knows that the device has reached it."""
        return self._tick <= self._machine.known

    def synchronize(self) -> None:
        """Lets the host wait for it, unless it is known to be reached."""
        if not self.query():
            self._machine.wait('event')

    def elapsed_time(self, end: Event) -> float:
        """Returns the milliseconds to another event; the host must know of both."""
        if not (self._timing and end._timing) or min(self._tick, end._tick) < 0:
            raise ValueError('Both events must be created with argument enable_timing=True')
        if not (self.query() and end.query()):
            self._machine.fail('device not ready')
        return (end._tick - self._tick - 1) / 1000


class CUDAGraph:
    """Recorded launches, which are repeated as one, in memory of their own."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.recording = machine, Recording()
        self.pool: Block | None = None

    def replay(self) -> None:
        """Computes all of it again, into the same tensors."""
        self.machine.launch('graph')
        self.machine.ticks += len(self.recording)
        self.recording.replay()

    def reset(self) -> None:
        """Forgets what was recorded."""
        self.recording, self.pool = Recording(), None


@contextmanager
def _graph(graph: CUDAGraph, **_: Any) -> Iterator[None]:
    graph.machine.wait('capture')
    graph.machine.recording = graph.recording
    try:
        yield
    finally:
        graph.machine.recording = None
        graph.recording.end()
        # Results still count by themselves.
        spare = graph.recording.peak - graph.machine.allocated
        graph.pool = graph.machine.keep(max(spare, 0))


def on_acted(tensor: torch.Tensor) -> bool:
    """Returns whether a tensor lies on an acted device."""
    return isinstance(tensor, Acted)
