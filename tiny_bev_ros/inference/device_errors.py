# SPDX-License-Identifier: Apache-2.0
"""Errors of the device rather than of the input, and loss of the device by this process."""

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
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__


def is_device_error(error: BaseException) -> bool:
    """Tells whether an error came from the device or its libraries, shortage included."""
    return any(
        (_ACCELERATOR_ERROR is not None and isinstance(each, _ACCELERATOR_ERROR))
        or (isinstance(each, RuntimeError) and bool(_DEVICE_ERROR.search(str(each))))
        for each in causes(error)
    )


def device_is_lost(error: BaseException, device: torch.device | None) -> bool:
    """Tells whether this process can no longer use a device after an error.

    Args:
        error: error of the device.
        device: device that runs a small test where the message does not tell; None if unknown.
    """
    if any(_DEVICE_LOST.search(str(each)) for each in causes(error)):
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
