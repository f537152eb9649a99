# SPDX-License-Identifier: Apache-2.0
"""Tells whether the kernels that numba compiles can be used on this machine."""

from __future__ import annotations

import functools

from tiny_bev_ros.optional_imports import import_optional, note, one_line

# All that have kernels; the last one has one to be tried.
_KERNELS = ('fused_pfn', 'sparse.sparse_chain', 'kernels.trial')


@functools.cache
def numba_unavailable_reason() -> str:
    """Why PyTorch does the work, in one line; '' where numba's kernels do it.

    They are compiled when first called; one is, here, as numba may be there without working.
    """
    why_not = _reason()
    if why_not:
        note(f'{why_not}: PyTorch computes what numba would on the CPU, more slowly')
    return why_not


def _reason() -> str:
    for name in ('numba', *(f'tiny_bev_ros.inference.{each}' for each in _KERNELS)):
        module, why_not = import_optional(name)
        if module is None:
            return why_not
    try:
        right = module.works()
    except Exception as error:  # of numba, of LLVM
        return f'numba cannot be used ({one_line(error)})'
    return '' if right else 'numba cannot be used (it computes wrongly)'
