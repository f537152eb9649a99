# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Vectors of 16 float32 for kernels compiled by numba.

A compiler vectorizes a loop over channels only if it can prove that the many inputs and outputs
do not overlap; otherwise it computes one number at a time. Here the vectors are explicit. On a
CPU with shorter ones LLVM splits them.

In memory a vector may be 16 bits per value: uint16 stands for bfloat16, int16 for float16 (NumPy
has no bfloat16, and numba no float16 on the CPU).
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import extending
from numba.core import types
from numba.extending import models, overload, register_model

from tiny_bev_ros.inference.sparse.row_padding import WIDTH
from tiny_bev_ros.numba_jit import compiler

# Callers of an intrinsic omit its first argument, numba's typing context.
intrinsic: Any = extending.intrinsic

# NumPy's error model: division by zero raises no exception.
jit = compiler(error_model='numpy')

_FLOAT = ir.VectorType(ir.FloatType(), WIDTH)
_INT = ir.VectorType(ir.IntType(32), WIDTH)
_SHORT = ir.VectorType(ir.IntType(16), WIDTH)
_HALF = ir.VectorType(ir.HalfType(), WIDTH)


def as_numpy(x: torch.Tensor) -> np.ndarray:
    """Returns a flat view of a contiguous tensor; 16-bit floats as uint16 or int16, see above."""
    stands_for = {torch.bfloat16: torch.uint16, torch.float16: torch.int16}
    return x.view(stands_for.get(x.dtype, x.dtype)).view(-1).numpy()


class _VectorType(types.Type):
    def __init__(self) -> None:
        super().__init__('tiny_bev_float32x16')


_vector = _VectorType()


@register_model(_VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, of: Any) -> None:
        super().__init__(manager, of, _FLOAT)


def _pointer(context: Any, builder: Any, signature: Any, values: Any, vector: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, values[0])
    index = context.cast(builder, values[1], signature.args[1], types.intp)
    return builder.bitcast(builder.gep(array.data, [index]), vector.as_pointer())


def _constant(number: int) -> Any:
    return ir.Constant(_INT, [number] * WIDTH)


@intrinsic
def load(_: Any, array: Any, index: Any) -> Any:
    """Loads 16 values of a flat array, from an index on, as float32."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kept = {types.uint16: _SHORT, types.int16: _HALF}.get(array.dtype, _FLOAT)
        align = array.dtype.bitwidth // 8
        vector = builder.load(_pointer(context, builder, signature, values, kept), align=align)
        if kept is _SHORT:
            wide = builder.shl(builder.zext(vector, _INT), _constant(16))
            return builder.bitcast(wide, _FLOAT)
        return builder.fpext(vector, _FLOAT) if kept is _HALF else vector

    return _vector(array, index), generate


@intrinsic
def store(_: Any, array: Any, index: Any, vector: Any) -> Any:
    """Stores 16 values in a flat array, from an index on, rounded to nearest even."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kept, value = _FLOAT, values[2]
        if array.dtype == types.uint16:
            # Adds half a unit in the last place, one bit less if the result is even: ties to even.
            bits = builder.bitcast(value, _INT)
            odd = builder.and_(builder.lshr(bits, _constant(16)), _constant(1))
            bits = builder.add(bits, builder.add(odd, _constant(0x7FFF)))
            kept, value = _SHORT, builder.trunc(builder.lshr(bits, _constant(16)), _SHORT)
        elif array.dtype == types.int16:
            kept, value = _HALF, builder.fptrunc(value, _HALF)
        pointer = _pointer(context, builder, signature, values, kept)
        builder.store(value, pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, index, vector), generate


@intrinsic
def splat(_: Any, number: Any) -> Any:
    """Returns a vector of 16 equal values."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        number = context.cast(builder, values[0], signature.args[0], types.float32)
        nothing, first = ir.Constant(_FLOAT, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        vector = builder.insert_element(nothing, number, first)
        return builder.shuffle_vector(vector, nothing, _constant(0))

    return _vector(number), generate


@intrinsic
def maximum(_: Any, left: Any, right: Any) -> Any:
    """Returns the element-wise maximum; NaN where the left value is NaN."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        less = builder.fcmp_ordered('<', values[0], values[1])
        return builder.select(less, values[1], values[0])

    return _vector(left, right), generate


def _arithmetic(function: Any, instruction: str) -> None:
    @intrinsic
    def compute(_: Any, left: Any, right: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            # Allows a fused multiply-add, which rounds once.
            return getattr(builder, instruction)(*values, flags=('contract',))

        return _vector(left, right), generate

    @overload(function)
    def implement(left, right):  # type: ignore[no-untyped-def] # numba compares signatures
        if left == _vector and right == _vector:
            return lambda left, right: compute(left, right)  # noqa: PLW0108 - numba wants one
        return None


for _function, _instruction in (
    (operator.add, 'fadd'),
    (operator.sub, 'fsub'),
    (operator.mul, 'fmul'),
):
    _arithmetic(_function, _instruction)
