# SPDX-License-Identifier: Apache-2.0
"""Which device the networks run on."""

from __future__ import annotations

import re

import torch

from tiny_bev_ros.errors import TinyBevError


def resolve_device(name: str) -> torch.device:
    """The device that a user asks for.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:N``, or ``auto`` for CUDA where there is a device
            and else the CPU; the caller should say which one it became.

    Raises:
        TinyBevError: the name is another one, or there is no such device.
    """
    if name == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    if name == 'cpu':
        return torch.device('cpu')
    match = re.fullmatch(r'cuda(?::([0-9]+))?', name)
    if not match:
        raise TinyBevError(f'device is {name!r}; expected auto, cpu, cuda or cuda:N')
    if not torch.cuda.is_available():
        raise TinyBevError(
            f'device is {name!r}, but PyTorch finds no CUDA device; expected auto or cpu'
        )
    count = torch.cuda.device_count()
    if match[1] and int(match[1]) >= count:
        raise TinyBevError(f'device is {name!r}; expected an index below {count}')
    return torch.device(name)
