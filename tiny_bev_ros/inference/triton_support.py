# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Check that Triton's kernels can be used on a device."""

from __future__ import annotations

import functools
import re

import torch

from tiny_bev_ros.inference.device_errors import device_is_lost
from tiny_bev_ros.inference.memory import shortage
from tiny_bev_ros.optional_imports import import_optional, note, one_line

# First version with the argument `input_precision` of a product, which rules out TF32.
_MIN_VERSION = (3, 0)
# Compute capability of Ampere: the kernels use its asynchronous copies and bfloat16 products.
_MIN_CAPABILITY = (8, 0)
_FALLBACK = "PyTorch replaces Triton's kernels on CUDA, and is slower"


@functools.cache
def triton_unavailable_reason(device: torch.device) -> str:
    """Returns the reason to use PyTorch on a device; '' where Triton's kernels can be used.

    Compiles and runs a small layer, as triton may be installed and not work. For CUDA devices
    the reason is noted for the next node that logs.

    Raises:
        RuntimeError: memory is short, or the device is lost.
    """
    if device.type != 'cuda':
        return f'the device is {device.type}; expected cuda'
    if not torch.cuda.is_available():
        return 'there is no CUDA device'
    reason = _reason(device)
    if reason:
        note(f'{reason}: {_FALLBACK}')
    return reason


def _reason(device: torch.device) -> str:
    capability = torch.cuda.get_device_capability(device)
    if capability < _MIN_CAPABILITY:
        return f'compute capability is {_dotted(capability)}; expected at least 8.0'
    triton, reason = import_optional('triton')
    if reason:
        return reason
    version = str(triton.__version__)
    if tuple(int(each) for each in re.findall(r'\d+', version)[:2]) < _MIN_VERSION:
        return f'triton is {version}; expected at least {_dotted(_MIN_VERSION)}'
    trial, reason = import_optional('tiny_bev_ros.inference.sparse.triton_trial')
    if reason:
        return reason
    try:
        right = trial.works(device)
    except Exception as error:  # raised by triton, as where there is no C compiler
        if shortage(error) or device_is_lost(error, device):
            raise
        return f'triton cannot be used ({one_line(error)})'
    return '' if right else 'triton cannot be used (it computes wrongly)'


def _dotted(version: tuple[int, int]) -> str:
    return '.'.join(str(each) for each in version)
