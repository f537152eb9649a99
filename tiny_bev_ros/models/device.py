# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Device of the networks, from the value of a parameter or argument, and copies to and from it."""

from __future__ import annotations

import os
import re

import torch
from torch import Tensor

from tiny_bev_ros.errors import TinyBevError, first_line

CPU = torch.device('cpu')


def resolve_device(name: str) -> torch.device:
    """Returns the device of a name; a CUDA device always has its index.

    Args:
        name: ``cpu``, ``cuda`` for the current CUDA device, ``cuda:N``, or ``auto`` for CUDA
            where it works and else the CPU; the caller should log the result, and for the CPU
            the `cuda_unavailable_reason`.

    Raises:
        TinyBevError: the name is unknown, or the device does not work.
    """
    if name == 'auto':
        return (
            CPU if cuda_unavailable_reason() else torch.device('cuda', torch.cuda.current_device())
        )
    if name == 'cpu':
        return CPU
    match = re.fullmatch(r'cuda(?::([0-9]+))?', name)
    if not match:
        raise TinyBevError(f'device is {name!r}; expected auto, cpu, cuda or cuda:N')
    if torch.cuda.is_available() and match[1]:
        count = torch.cuda.device_count()
        if int(match[1]) >= count:
            raise TinyBevError(f'device is {name!r}; expected an index below {count}')
    index = int(match[1]) if match[1] else None
    reason = cuda_unavailable_reason(index)
    if reason:
        raise TinyBevError(f'device is {name!r}, but {reason}; expected auto or cpu')
    # With an index, as PyTorch's functions for memory take only a device that has one.
    return torch.device('cuda', torch.cuda.current_device() if index is None else index)


def cuda_unavailable_reason(index: int | None = None) -> str:
    """Returns PyTorch's reason for which a CUDA device does not work; '' if it works.

    Args:
        index: index of the device; None for the current one.
    """
    if not torch.cuda.is_available():
        return f'PyTorch finds no CUDA device ({_not_found_reason()})'
    device = torch.device('cuda', torch.cuda.current_device() if index is None else index)
    try:
        torch.ones(1, device=device).item()
    except torch.cuda.OutOfMemoryError:
        return ''  # it works; callers handle a shortage of memory
    except RuntimeError as error:  # such as a GPU for which this PyTorch has no kernels
        return f'{device} does not work ({first_line(error).rstrip(".")})'
    return ''


def copy_to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copies a tensor to a device, without a wait of the host.

    PyTorch keeps the page-locked memory through which a copy to CUDA goes, and uses it again only
    after the copy.

    Returns:
        The tensor itself where it is on the device.
    """
    if device.type != 'cuda' or tensor.device.type != 'cpu':
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def copy_to_host(*tensors: Tensor) -> list[Tensor]:
    """Copies tensors of one device to the host, which waits for all of them once.

    It is the only wait of a frame for its results: copies from CUDA go to page-locked memory,
    which PyTorch keeps for later copies, so that none of them waits, and the wait for the event
    passes `torch.cuda.set_sync_debug_mode('error')`.

    Returns:
        The tensors themselves where they are on the CPU.
    """
    device = tensors[0].device
    if device.type != 'cuda':
        return [each.cpu() for each in tensors]
    copies = [each.to('cpu', non_blocking=True) for each in tensors]
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(device))
    event.synchronize()
    return copies


def _not_found_reason() -> str:
    if torch.version.cuda is None and getattr(torch.version, 'hip', None) is None:
        return f'PyTorch {torch.__version__} is built without CUDA'
    try:
        torch.cuda.init()
    except (AssertionError, RuntimeError) as error:
        reason = first_line(error).rstrip('.')
    else:
        reason = 'it gives no reason'
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    return reason if visible is None else f'{reason}; CUDA_VISIBLE_DEVICES is {visible!r}'
