# SPDX-License-Identifier: Apache-2.0
"""Errors that say that the device is broken, not the input, and whether this process lost it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch

# PyTorch before 2.8 has no type for them.
_TYPE: type[RuntimeError] | None = getattr(torch, 'AcceleratorError', None)
_OF_DEVICE = re.compile(
    r'\b(CUDA|HIP)( driver)? error|cuDNN error|CUDNN_STATUS_|CU(BLAS|SPARSE|SOLVER|FFT)_STATUS_',
)
# After these, says CUDA's manual, the process must be terminated: all later calls fail too.
_LOST = re.compile(
    r'device-side assert|illegal memory access|unspecified launch failure|misaligned address'
    r'|illegal instruction|invalid program counter|hardware stack error|uncorrectable (ECC|NVLink)'
    r'|operation not supported on global/shared address space|launch timed out'
    r'|context is destroyed',
)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it was raised from or while handling, and so on."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__


def is_device_error(error: BaseException) -> bool:
    """Tells whether an error came from the device or its libraries; memory may be short, too."""
    return any(
        (_TYPE is not None and isinstance(each, _TYPE))
        or (isinstance(each, RuntimeError) and bool(_OF_DEVICE.search(str(each))))
        for each in causes(error)
    )


def device_is_lost(error: BaseException, device: torch.device | None) -> bool:
    """Tells whether, after an error of the device, this process can use it no more.

    Args:
        error: of the device.
        device: is asked for a trifle, if the error does not say it; None if it is not known.
    """
    if any(_LOST.search(str(each)) for each in causes(error)):
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
