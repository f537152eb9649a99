# SPDX-License-Identifier: Apache-2.0
"""Vectors of 16 float32 for kernels compiled by numba.

A compiler turns a loop over channels into vector instructions only where it can prove that its
many inputs and outputs do not overlap, and falls back to one number at a time where it cannot.
Here the vectors are written down. Where the CPU has shorter ones, LLVM takes several.

In memory they may have fewer bits: uint16 stands for bfloat16, int16 for float16 (NumPy has no
bfloat16, and numba no float16 on the CPU).
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

# Its functions are called with one argument less than they are written with.
intrinsic: Any = extending.intrinsic

# No exceptions for what IEEE 754 defines.
jit = compiler(error_model='numpy')

_FLOAT = ir.VectorType(ir.FloatType(), WIDTH)
_INT = ir.VectorType(ir.IntType(32), WIDTH)
_SHORT = ir.VectorType(ir.IntType(16), WIDTH)
_HALF = ir.VectorType(ir.HalfType(), WIDTH)


def as_numpy(x: torch.Tensor) -> np.ndarray:
    """A flat view of a contiguous tensor, of the dtype that stands for its own."""
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
    """16 numbers of a flat array, from an index on."""

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
    """Writes 16 numbers into a flat array, from an index on, rounded to the nearest."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kept, value = _FLOAT, values[2]
        if array.dtype == types.uint16:
            # Half of the last place, less a hair where the number kept is even.
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
    """A number 16 times."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        number = context.cast(builder, values[0], signature.args[0], types.float32)
        nothing, first = ir.Constant(_FLOAT, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        vector = builder.insert_element(nothing, number, first)
        return builder.shuffle_vector(vector, nothing, _constant(0))

    return _vector(number), generate


@intrinsic
def larger(_: Any, left: Any, right: Any) -> Any:
    """The larger of each two; NaN where the left one is."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        less = builder.fcmp_ordered('<', values[0], values[1])
        return builder.select(less, values[1], values[0])

    return _vector(left, right), generate


def _arithmetic(function: Any, instruction: str) -> None:
    @intrinsic
    def compute(_: Any, left: Any, right: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            # A product and a sum may become one instruction, which rounds once.
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
