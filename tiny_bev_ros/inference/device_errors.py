# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Errors that the device causes, not the input, and detection of a lost device."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch

# Exception type of device errors; PyTorch before 2.8 has none.
_ACCELERATOR_ERROR: type[RuntimeError] | None = getattr(torch, 'AcceleratorError', None)
_DEVICE_ERROR = re.compile(
    r'\b(CUDA|HIP)( driver)? error|cuDNN error|CUDNN_STATUS_|CU(BLAS|SPARSE|SOLVER|FFT)_STATUS_',
)
# Errors after which, by CUDA's manual, the process must end: all later calls fail too.
_DEVICE_LOST = re.compile(
    r'device-side assert|illegal memory access|unspecified launch failure|misaligned address'
    r'|illegal instruction|invalid program counter|hardware stack error|uncorrectable (ECC|NVLink)'
    r'|operation not supported on global/shared address space|launch timed out'
    r'|context is destroyed',
)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error, its cause or context, and so on."""
    visited: list[BaseException] = []
    while error is not None and error not in visited:
        visited.append(error)
        yield error
        error = error.__cause__ or error.__context__


def is_device_error(error: BaseException) -> bool:
    """Returns True if an error came from the device or its libraries, shortage included."""
    return any(
        (_ACCELERATOR_ERROR is not None and isinstance(cause, _ACCELERATOR_ERROR))
        or (isinstance(cause, RuntimeError) and bool(_DEVICE_ERROR.search(str(cause))))
        for cause in causes(error)
    )


def device_is_lost(error: BaseException, device: torch.device | None) -> bool:
    """Returns True if this process can no longer use a device after an error.

    Args:
        error: error of the device.
        device: device on which a small test runs where the message is not conclusive; None if
            unknown.
    """
    if any(_DEVICE_LOST.search(str(cause)) for cause in causes(error)):
        return True
    if device is None or device.type == 'cpu':
        return False
    try:
        torch.zeros(1, device=device).cpu()
    except torch.cuda.OutOfMemoryError:
        return False
    except RuntimeError:
        return True
    return False
