# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Tensors of a CUDA device that is acted out on the CPU; see acted_cuda.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from acted_machine import Block, Machine, Recording
from torch.utils._pytree import tree_flatten, tree_map
from triton_interpreter import interpret

# Operations for which a GPU computes nothing; views are recognised by their storage.
_NO_LAUNCH = {'empty', 'empty_strided', 'empty_like', 'new_empty', 'new_empty_strided'}
# Operations for whose result the host waits.
_WAITS = {
    '_local_scalar_dense', 'nonzero', '_unique2', 'unique_consecutive', 'unique_dim',
    'masked_select', 'equal', 'bincount',
}  # fmt: skip
# Operations that take indices; those that lie on the CPU are copied.
_INDEXING = {'index', 'index_put', 'index_put_', '_index_put_impl_'}
_COPYING = {'_to_copy', 'copy_'}


def _cudnn_convolution_relu(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *options: Any
) -> torch.Tensor:
    """Computes what cuDNN computes; unlike PyTorch's own convolution it converts nothing."""
    if bias is not None and not x.dtype == weight.dtype == bias.dtype:
        raise RuntimeError(f'cuDNN takes one dtype; got {x.dtype}, {weight.dtype}, {bias.dtype}')
    return torch.conv2d(x, weight, bias, *options).relu_()


# Operations that the CPU lacks.
_FOR_CPU = {'cudnn_convolution_relu': _cudnn_convolution_relu}


class Acted(torch.Tensor):
    """Tensor that reports a CUDA device and is computed on the CPU.

    Attributes:
        inner: tensor on the CPU with the values.
        machine: devices, of which it lies on one.
        block: memory in which it lies.
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
        # In inference mode PyTorch does not decompose operations itself.
        parts = func.decompose(*args, **(kwargs or {}))
        return _run(func, args, kwargs or {}) if parts is NotImplemented else parts

    # PyTorch's own code of these methods would call a CUDA library.

    def __getitem__(self, index: Any) -> Any:
        return Relay(self)[tree_map(_relayed, index)].acted

    def __setitem__(self, index: Any, value: Any) -> None:
        Relay(self)[tree_map(_relayed, index)] = _relayed(value)

    def __invert__(self) -> Any:
        return torch.ops.aten.bitwise_not(self)

    def contiguous(self, memory_format: Any = torch.contiguous_format) -> Any:
        """Calls PyTorch's operator."""
        return torch.ops.aten.contiguous(self, memory_format=memory_format)

    def copy_(self, source: torch.Tensor, non_blocking: bool = False) -> Any:
        """Calls PyTorch's operator."""
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
        """Changes nothing: for gradients PyTorch would ask CUDA for a stream."""
        return self

    def new_tensor(self, data: Any, **options: Any) -> torch.Tensor:
        """Converts on the CPU."""
        dtype = options.get('dtype', self.dtype)
        return torch.tensor(data, dtype=dtype).to(options.get('device', self.device))

    def numpy(self, **_: Any) -> NoReturn:  # type: ignore[override]
        """Refuses, as PyTorch does."""
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. "
            'Use Tensor.cpu() to copy the tensor to host memory first.'
        )

    def nonzero(self, *, as_tuple: bool = False) -> Any:
        """Calls PyTorch's operator, as its own method would call a CUDA library."""
        found = torch.ops.aten.nonzero(self)
        return found.unbind(1) if as_tuple else found

    def tolist(self) -> Any:
        """Converts on the CPU."""
        return self.cpu().tolist()

    def data_ptr(self) -> int:
        """Returns the address of the values."""
        return self.inner.data_ptr()


class Relay(torch.Tensor):
    """Stand-in on the CPU for PyTorch's own indexing, which would call a CUDA library."""

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
    """Returns a function that makes tensors on the acted device as `op` does on the CPU."""

    def make(*args: Any, device: torch.device, **kwargs: Any) -> Acted:
        kwargs.pop('pin_memory', None)
        inner = op(*args, device='cpu', **kwargs)
        index = machine.current if device.index is None else device.index
        made = Acted(inner, machine, index, machine.take(inner.nbytes, index))
        if str(op).split('.')[1] not in _NO_LAUNCH:
            machine.launch(str(op).split('.')[1])
        return made

    return make


def kernel_launch(
    machine: Machine, kernel: Any, grid: tuple[int, ...], /, *arguments: Any, **options: Any
) -> None:
    """Runs a Triton kernel on the acted device, or records it, as `triton_launch.launch` does."""
    tensors = [each for each in arguments if isinstance(each, torch.Tensor)]
    _check_devices(kernel.__name__, (), [each[None] for each in tensors], machine)
    inner = (kernel, grid, *map(_inner, arguments))
    if machine.is_recording():
        assert machine.recording is not None
        machine.recording.add(interpret, inner, options, None)
        return
    machine.launch(kernel.__name__)
    interpret(*inner, **options)


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Runs an operation of which at least one tensor lies on the acted device."""
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
    late = name in _COPYING and goal.type == 'cpu' and _is_asynchronous(name, args, kwargs)
    if _is_waited_for(name, args, kwargs):
        machine.wait(name)
    _note_flags(name, machine)
    inner_args, inner_kwargs = tree_map(_inner, args), tree_map(_inner, kwargs)
    targets = _targets(func, args, kwargs)
    recording = machine.recording if machine.is_recording() else None
    if recording is not None:
        for target in targets:
            recording.mutates(target.inner)
    func = _FOR_CPU.get(name, func)
    out = func(*inner_args, **inner_kwargs)
    if late:
        machine.postpone(out)
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
        target = index if goal.index is None else goal.index
        return Acted(each, machine, target, block or machine.take(each.nbytes, target))

    return tree_map(wrapped, out)


def _goal(args: Any, kwargs: dict[str, Any], name: str) -> torch.device:
    """Returns the device of the result."""
    if name == 'copy_':
        device: torch.device = args[0].device
        return device
    return torch.device(kwargs.get('device') or 'cuda')


def _inner(value: Any) -> Any:
    if isinstance(value, Acted):
        return value.inner
    return torch.device('cpu') if isinstance(value, torch.device) else value


def _targets(func: Any, args: Any, kwargs: dict[str, Any]) -> list[Acted]:
    """Returns the tensors that an operation writes to."""
    written = []
    for index, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            written.append(args[index] if index < len(args) else kwargs.get(argument.name))
    return [each for each in written if isinstance(each, Acted)]


def _count(name: str, machine: Machine, recording: Recording | None, step: Any) -> None:
    if name in _NO_LAUNCH:
        return
    if recording is not None:
        recording.add(*step)
    else:
        machine.launch(name)


def _check_devices(name: str, args: Any, flat: list[Any], machine: Machine) -> None:
    """Refuses tensors of different devices, as PyTorch does; single numbers may differ."""
    tensors = [each for each in flat if isinstance(each, torch.Tensor)]
    if name in _INDEXING:
        if not isinstance(args[0], Acted):
            raise RuntimeError(
                'indices should be either on cpu or on the same device as the indexed tensor (cpu)'
            )
        indices = [each for each in args[1] if isinstance(each, torch.Tensor)]
        for each in indices:
            if not isinstance(each, Acted):
                machine.copied['to device'] += each.nbytes
                machine.wait('index on the CPU')
        tensors = [each for each in tensors if not any(each is index for index in indices)]
        value = args[2] if 'put' in name else None
        if isinstance(value, torch.Tensor) and not isinstance(value, Acted):
            machine.wait('value on the CPU')  # a Python number that is assigned, too
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
    if not _is_asynchronous('copy_' if len(args) > 1 else '_to_copy', args, kwargs):
        machine.wait(way)


def _is_asynchronous(name: str, args: Any, kwargs: dict[str, Any]) -> bool:
    """Returns whether the host goes on before a copy ends: never one to pageable memory.

    PyTorch itself allocates page-locked memory for `to`.
    """
    if not kwargs.get('non_blocking') and not (len(args) > 2 and args[2]):
        return False
    return name == '_to_copy' or isinstance(args[0], Acted) or is_pinned(args[0])


def is_pinned(tensor: torch.Tensor) -> bool:
    """Returns whether a tensor of the host was made by the acted `pin_memory`."""
    return getattr(tensor, 'acted_pinned', False)


def _is_waited_for(name: str, args: Any, kwargs: dict[str, Any]) -> bool:
    if name == 'repeat_interleave':
        return kwargs.get('output_size') is None
    if name in _INDEXING:
        masks = (torch.bool, torch.uint8)
        return any(isinstance(each, torch.Tensor) and each.dtype in masks for each in args[1])
    return name in _WAITS


def _note_flags(name: str, machine: Machine) -> None:
    """Records whether a GPU would have rounded float32 to TF32."""
    if 'convolution' in name:
        machine.flags['conv'].add(_allows_tf32(torch.backends.cudnn, 'conv'))
    if name in ('mm', 'bmm', 'addmm', 'baddbmm', 'linear', 'matmul'):
        machine.flags['matmul'].add(_allows_tf32(torch.backends.cuda, 'matmul'))


def _allows_tf32(backend: Any, part: str) -> bool:
    options = getattr(backend, part, backend)
    if hasattr(torch.backends.cudnn, 'conv'):
        return bool(options.fp32_precision == 'tf32')
    return bool(options.allow_tf32)
