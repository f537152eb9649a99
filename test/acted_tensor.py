# SPDX-License-Identifier: Apache-2.0
"""Tensors of a CUDA device that is acted out on the CPU; see acted_cuda.py."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch.utils._pytree import tree_flatten, tree_map

# Operations for which a GPU computes nothing; views are recognised by what they share.
_NO_LAUNCH = {'empty', 'empty_strided', 'empty_like', 'new_empty', 'new_empty_strided'}
# Operations for whose result the host waits.
_WAITS = {
    '_local_scalar_dense', 'nonzero', '_unique2', 'unique_consecutive', 'unique_dim',
    'masked_select', 'equal', 'bincount',
}  # fmt: skip
# Operations that take indices, which may lie on the CPU: they are then copied.
_INDEXING = {'index', 'index_put', 'index_put_', '_index_put_impl_'}
_COPYING = {'_to_copy', 'copy_'}


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


class Acted(torch.Tensor):
    """A tensor that says that it lies on a CUDA device, and is computed on the CPU.

    Attributes:
        inner: its values.
        machine, block: where it lies.
    """

    inner: torch.Tensor
    machine: Machine
    block: Block

    @staticmethod
    def __new__(cls, inner: torch.Tensor, machine: Machine, index: int, block: Block) -> Acted:
        made: Acted = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=torch.device('cuda', index),
        )
        made.inner, made.machine, made.block = inner, machine, block
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # In inference mode PyTorch leaves it to us to take operations apart.
        parts = func.decompose(*args, **(kwargs or {}))
        return _run(func, args, kwargs or {}) if parts is NotImplemented else parts

    # What PyTorch's own code for these would ask a CUDA library for.

    def __getitem__(self, index: Any) -> Any:
        return Relay(self)[tree_map(_relayed, index)].acted

    def __setitem__(self, index: Any, value: Any) -> None:
        Relay(self)[tree_map(_relayed, index)] = _relayed(value)

    def __invert__(self) -> Any:
        return torch.ops.aten.bitwise_not(self)

    def contiguous(self, memory_format: Any = torch.contiguous_format) -> Any:
        """Of PyTorch's operator."""
        return torch.ops.aten.contiguous(self, memory_format=memory_format)

    def copy_(self, source: torch.Tensor, non_blocking: bool = False) -> Any:
        """Of PyTorch's operator."""
        return torch.ops.aten.copy_(self, source, non_blocking)

    def __deepcopy__(self, memo: dict[int, Any]) -> Acted:
        copied = self.detach().clone()
        if isinstance(self, torch.nn.Parameter):
            copied = torch.nn.Parameter(copied, requires_grad=False)
        memo[id(self)] = copied
        assert isinstance(copied, Acted)
        return copied

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f'Acted({tuple(self.shape)}, {self.dtype}, {self.device})'

    def requires_grad_(self, requires_grad: bool = True) -> Acted:
        """Nothing: there are no gradients here, for PyTorch would ask CUDA for a stream."""
        return self

    def new_tensor(self, data: Any, **options: Any) -> torch.Tensor:
        """By way of the CPU."""
        dtype = options.get('dtype', self.dtype)
        return torch.tensor(data, dtype=dtype).to(options.get('device', self.device))

    def numpy(self, **_: Any) -> NoReturn:  # type: ignore[override]
        """Refuses, as PyTorch does."""
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. "
            'Use Tensor.cpu() to copy the tensor to host memory first.'
        )

    def nonzero(self, *, as_tuple: bool = False) -> Any:
        """Without the detour by which PyTorch would ask for a CUDA library."""
        found = torch.ops.aten.nonzero(self)
        return found.unbind(1) if as_tuple else found

    def tolist(self) -> Any:
        """By way of the CPU."""
        return self.cpu().tolist()

    def data_ptr(self) -> int:
        """Where the values lie."""
        return self.inner.data_ptr()


class Relay(torch.Tensor):
    """A stand-in on the CPU for PyTorch's own indexing, which would ask for a CUDA library."""

    acted: Acted

    @staticmethod
    def __new__(cls, acted: Acted) -> Relay:
        made: Relay = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            acted.shape,
            strides=acted.stride(),
            storage_offset=acted.storage_offset(),
            dtype=acted.dtype,
            device='cpu',
        )
        made.acted = acted
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        plain = tree_map(lambda each: each.acted if isinstance(each, Relay) else each, args)
        out = func(*plain, **(kwargs or {}))
        return args[0] if func._schema.is_mutable else tree_map(_relayed, out)


def _relayed(value: Any) -> Any:
    return Relay(value) if isinstance(value, Acted) else value


def factory(op: Callable[..., torch.Tensor], machine: Machine) -> Callable[..., Acted]:
    """Makes tensors on the acted device as `op` does on the CPU."""

    def make(*args: Any, device: torch.device, **kwargs: Any) -> Acted:
        kwargs.pop('pin_memory', None)
        inner = op(*args, device='cpu', **kwargs)
        index = machine.current if device.index is None else device.index
        made = Acted(inner, machine, index, machine.take(inner.nbytes, index))
        if str(op).split('.')[1] not in _NO_LAUNCH:
            machine.launch(str(op).split('.')[1])
        return made

    return make


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """An operation of which at least one tensor lies on the acted device."""
    name: str = func._schema.name.partition('::')[2]
    if name == '_has_compatible_shallow_copy_type':  # asked by Module.to
        return False
    flat = tree_flatten((args, kwargs))[0]
    acted = [each for each in flat if isinstance(each, Acted)]
    machine, index = acted[0].machine, acted[0].device.index
    goal = _goal(args, kwargs, name)
    if name not in _COPYING:
        _check_devices(name, args, flat, machine)
    elif goal.type == 'cpu' or not isinstance(args[-1 if name == 'copy_' else 0], Acted):
        _count_copy(args[1] if name == 'copy_' else args[0], goal, args, kwargs, machine)
    if _is_waited_for(name, args, kwargs):
        machine.wait(name)
    _note_flags(name, machine)
    inner_args, inner_kwargs = tree_map(_inner, args), tree_map(_inner, kwargs)
    targets = _targets(func, args, kwargs)
    recording = machine.recording if machine.is_recording() else None
    if recording is not None:
        for target in targets:
            recording.mutates(target.inner)
    out = func(*inner_args, **inner_kwargs)
    if targets or name == 'copy_':
        for target in targets:
            if target.inner.shape != target.shape:
                raise NotImplementedError(f'{func} changes the shape of a tensor in place')
        _count(name, machine, recording, (func, inner_args, inner_kwargs, None))
        return kwargs['out'] if 'out' in kwargs else args[0]
    owners = {each.inner.untyped_storage()._cdata: each.block for each in acted}
    results = [each for each in tree_flatten(out)[0] if isinstance(each, torch.Tensor)]
    if not all(each.untyped_storage()._cdata in owners for each in results):
        _count(name, machine, recording, (func, inner_args, inner_kwargs, out))

    def wrapped(each: Any) -> Any:
        if not isinstance(each, torch.Tensor) or goal.type == 'cpu':
            return each
        block = owners.get(each.untyped_storage()._cdata)
        place = index if goal.index is None else goal.index
        return Acted(each, machine, place, block or machine.take(each.nbytes, place))

    return tree_map(wrapped, out)


def _goal(args: Any, kwargs: dict[str, Any], name: str) -> torch.device:
    """Where the result will lie."""
    if name == 'copy_':
        device: torch.device = args[0].device
        return device
    return torch.device(kwargs.get('device') or 'cuda')


def _inner(value: Any) -> Any:
    if isinstance(value, Acted):
        return value.inner
    return torch.device('cpu') if isinstance(value, torch.device) else value


def _targets(func: Any, args: Any, kwargs: dict[str, Any]) -> list[Acted]:
    """The tensors that an operation writes to."""
    written = []
    for place, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            written.append(args[place] if place < len(args) else kwargs.get(argument.name))
    return [each for each in written if isinstance(each, Acted)]


def _count(name: str, machine: Machine, recording: Recording | None, step: Any) -> None:
    if name in _NO_LAUNCH:
        return
    if recording is not None:
        recording.add(*step)
    else:
        machine.launch(name)


def _check_devices(name: str, args: Any, flat: list[Any], machine: Machine) -> None:
    """Refuses what lies on different devices, as PyTorch does; single numbers may."""
    tensors = [each for each in flat if isinstance(each, torch.Tensor)]
    if name in _INDEXING:
        if not isinstance(args[0], Acted):
            raise RuntimeError(
                'indices should be either on cpu or on the same device as the indexed tensor (cpu)'
            )
        places = [each for each in args[1] if isinstance(each, torch.Tensor)]
        for each in places:
            if not isinstance(each, Acted):
                machine.copied['to device'] += each.nbytes
                machine.wait('index on the CPU')
        tensors = [each for each in tensors if not any(each is place for place in places)]
    found = sorted({str(each.device) for each in tensors if isinstance(each, Acted) or each.dim()})
    if len(found) > 1:
        raise RuntimeError(
            'Expected all tensors to be on the same device, but found at least two devices, '
            f'{found[1]} and {found[0]}! ({name})'
        )


def _count_copy(
    source: torch.Tensor, goal: torch.device, args: Any, kwargs: dict[str, Any], machine: Machine
) -> None:
    """Counts a copy between host and device: without `non_blocking` the host waits for it."""
    if isinstance(source, Acted) and goal.type == 'cuda':
        return
    way = 'to device' if goal.type == 'cuda' else 'to host'
    machine.copied[way] += source.nbytes
    if not kwargs.get('non_blocking') and not (len(args) > 2 and args[2]):
        machine.wait(way)


def _is_waited_for(name: str, args: Any, kwargs: dict[str, Any]) -> bool:
    if name == 'repeat_interleave':
        return kwargs.get('output_size') is None
    if name in _INDEXING:
        masks = (torch.bool, torch.uint8)
        return any(isinstance(each, torch.Tensor) and each.dtype in masks for each in args[1])
    return name in _WAITS


def _note_flags(name: str, machine: Machine) -> None:
    """Notes how a GPU would have rounded float32."""
    if 'convolution' in name:
        machine.flags['conv'].add(_allows_tf32(torch.backends.cudnn, 'conv'))
    if name in ('mm', 'bmm', 'addmm', 'baddbmm', 'linear', 'matmul'):
        machine.flags['matmul'].add(_allows_tf32(torch.backends.cuda, 'matmul'))


def _allows_tf32(backend: Any, part: str) -> bool:
    settings = getattr(backend, part, backend)
    if hasattr(torch.backends.cudnn, 'conv'):
        return bool(settings.fp32_precision == 'tf32')
    return bool(settings.allow_tf32)


def _line_of_package() -> str:
    """The innermost line of the package that is at work."""
    frame = sys._getframe()
    while frame.f_back is not None:
        if 'tiny_bev_ros/tiny_bev_ros' in (path := frame.f_code.co_filename):
            return f'{path.rpartition("tiny_bev_ros/")[2]}:{frame.f_lineno}'
        frame = frame.f_back
    return ''
