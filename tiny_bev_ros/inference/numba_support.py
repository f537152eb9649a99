# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Check whether the kernels that numba compiles can be used on this machine."""

from __future__ import annotations

import functools

from tiny_bev_ros.optional_imports import import_optional, note, one_line

# Modules with kernels; the last one has the trial kernel.
_KERNELS = (
    'fused_pfn',
    'sparse.sparse_chain',
    'kernels.nms_kernels',
    'kernels.crop_kernels',
    'kernels.trial',
)


@functools.cache
def numba_unavailable_reason() -> str:
    """Returns the reason to use PyTorch, in one line; '' where numba's kernels can be used.

    Compiles and calls a trial kernel, as numba may be installed and not work.
    """
    reason = _reason()
    if reason:
        note(f'{reason}: PyTorch replaces its kernels on the CPU, and is slower')
    return reason


def _reason() -> str:
    for name in ('numba', *(f'tiny_bev_ros.inference.{each}' for each in _KERNELS)):
        module, reason = import_optional(name)
        if module is None:
            return reason
    try:
        right = module.works()
    except Exception as error:  # raised by numba or LLVM
        return f'numba cannot be used ({one_line(error)})'
    return '' if right else 'numba cannot be used (it computes wrongly)'
