# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Triton's kernels, run by its interpreter on memory of the CPU."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

# The interpreter replaces functions of triton.language for the time of a launch.
_LOCK = threading.Lock()


@cache
def _interpreted(kernel: Any) -> Any:
    from triton.runtime.interpreter import InterpretedFunction

    return InterpretedFunction(kernel.fn)


def interpret(kernel: Any, grid: tuple[int, ...], /, *arguments: Any, **options: Any) -> None:
    """Runs a kernel as `triton_launch.launch` does, on tensors of the CPU.

    Functions of Triton's library that are written in Triton themselves would need the whole of it
    in the interpreter's mode, in which nothing can be compiled; those in use are replaced.
    """
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder, interpreter_builder

    def cumsum(x: Any, axis: int) -> Any:
        return tl.associative_scan(x, axis, tl.standard._sum_combine)

    def largest(x: Any, axis: int) -> Any:
        return tl.reduce(x, axis, tl.standard._elementwise_max)

    plain_dot = InterpreterBuilder.create_dot

    def create_dot(self: Any, a: Any, b: Any, *others: Any) -> Any:
        # The interpreter multiplies the bits of bfloat16 as if they were integers.
        if a.dtype.scalar == tl.bfloat16:
            a, b = (self.cast_impl(each, tl.float32) for each in (a, b))
        return plain_dot(self, a, b, *others)

    with _LOCK, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tl, 'cumsum', cumsum)
        patch.setattr(tl, 'max', largest)
        patch.setattr(InterpreterBuilder, 'create_dot', create_dot)
        # The check of every sum of integers takes half of the time.
        if hasattr(interpreter_builder.options, 'sanitize_overflow'):
            fast = replace(interpreter_builder.options, sanitize_overflow=False)
            patch.setattr(interpreter_builder, 'options', fast)
        _interpreted(kernel)[grid](*arguments, **options)


def patch_launches(
    patch: pytest.MonkeyPatch,
    launch: Callable[..., None] = interpret,
    sites: int = 512,
    tile: int = 32,
) -> None:
    """Lets the package launch kernels in the interpreter.

    Args:
        patch: patch that is undone by the caller.
        launch: function in place of `triton_launch.launch`.
        sites: sites of a program; larger ones save time, which the interpreter takes by operation.
        tile: side of the squares in which active sites are listed.
    """
    from tiny_bev_ros.inference.sparse import triton_layer

    plain = triton_layer.block_sizes
    patch.setattr(triton_layer, 'block_sizes', lambda *sizes: replace(plain(*sizes), sites=sites))
    patch.setattr(triton_layer, '_TILE', tile)
    patch.setattr(triton_layer.triton_launch, 'launch', launch)
