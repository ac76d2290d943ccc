"""Code on vectors of numbers, written for LLVM by way of numba: no compiler at install, and what this processor has.

`Vectors` writes loads, stores and sums; `function` makes of what it writes a function that numba's code may call;
`kernel` makes of a function in numba one that any thread may call.

numba keeps what it compiled by the date of the file that holds the outermost function: after a change here or in
registers.py, remove src/siseon/convolutions/__pycache__/*.nb*.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numba
import numpy as np
from llvmlite import ir
from numba import carray
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from siseon.boxes._kernels import compiled
from siseon.threads import RUNS, Shared

Value: TypeAlias = Any
"""A value of LLVM: a number or a vector that the written code will have."""

FEATURES = cpu_target.target_context.codegen().magic_tuple()[2].split(",")
"""Of the processor that numba compiles for: "+avx512f" and so on."""

LANES = 16 if "+avx512f" in FEATURES else 8 if "+avx" in FEATURES else 4
"""Numbers in a vector."""

HAS_BFLOAT16 = "+avx512bf16" in FEATURES
"""Whether the processor multiplies pairs of bfloat16 into float32."""

FLOAT, WHOLE, INDEX, HALF = ir.FloatType(), ir.IntType(64), ir.IntType(32), ir.IntType(16)
VECTOR, MASK = ir.VectorType(FLOAT, LANES), ir.VectorType(ir.IntType(1), LANES)
WHOLES, HALVES = ir.VectorType(INDEX, LANES), ir.VectorType(HALF, LANES)


SHARED = np.dtype(list(RUNS))
"""How compiled code reads what the threads share."""


class BFloat16(ir.Type):
    """LLVM's bfloat, which llvmlite has no name for."""

    def __str__(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BFloat16)

    def __hash__(self) -> int:
        return hash(BFloat16)


class Vectors:
    """Writes code on vectors of LANES numbers; addresses are whole numbers, indices count numbers of four bytes."""

    def __init__(self, builder: Value) -> None:
        self.builder = builder

    def pointer(self, base: Value, index: Value, kind: ir.Type = VECTOR) -> Value:
        """To number `index` after the address `base`."""
        index = WHOLE(index) if isinstance(index, int) else index
        address = self.builder.add(base, self.builder.mul(index, WHOLE(4)))
        return self.builder.inttoptr(address, kind.as_pointer())

    def load(self, base: Value, index: Value = 0, mask: Value = None) -> Value:
        """LANES numbers from number `index` on; under a mask those that there are, and zeros."""
        source = self.pointer(base, index)
        if mask is None:
            loaded = self.builder.load(source)
            loaded.align = 4
            return loaded
        kind = ir.FunctionType(VECTOR, [VECTOR.as_pointer(), INDEX, MASK, VECTOR])
        return self.call("masked.load", kind, ".p0", source, INDEX(4), mask, self.constant(0))

    def store(self, vector: Value, base: Value, index: Value = 0, mask: Value = None) -> None:
        """Write LANES numbers from number `index` on, or those under the mask."""
        target = self.pointer(base, index)
        if mask is None:
            self.builder.store(vector, target).align = 4
        else:
            kind = ir.FunctionType(ir.VoidType(), [VECTOR, VECTOR.as_pointer(), INDEX, MASK])
            self.call("masked.store", kind, ".p0", vector, target, INDEX(4), mask)

    def addresses(self, places: Value, count: int) -> Sequence[Value]:
        """So many addresses from memory."""
        start = self.builder.inttoptr(places, WHOLE.as_pointer())
        return [self.builder.load(self.builder.gep(start, [WHOLE(number)])) for number in range(count)]

    def prefetch(self, base: Value, index: Value = 0) -> None:
        """Ask for the numbers from number `index` on, to be written to, before they are needed."""
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), INDEX, INDEX, INDEX])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        place = self.pointer(base, index, ir.IntType(8))
        self.builder.call(function, [place, INDEX(1), INDEX(3), INDEX(1)])

    def constant(self, number: float) -> Value:
        """The same number in each lane, known now."""
        return ir.Constant(VECTOR, [float(np.float32(number))] * LANES)

    def spread(self, number: Value) -> Value:
        """The same number in each lane."""
        nothing = ir.Constant(ir.VectorType(number.type, LANES), ir.Undefined)
        first = self.builder.insert_element(nothing, number, INDEX(0))
        return self.builder.shuffle_vector(first, nothing, ir.Constant(WHOLES, [0] * LANES))

    def mask(self, columns: Value, first: int) -> Value:
        """Which of the columns from `first` on there are."""
        here = ir.Constant(ir.VectorType(WHOLE, LANES), [first + lane for lane in range(LANES)])
        return self.builder.icmp_signed("<", here, self.spread(columns))

    def fused(self, one: Value, two: Value, three: Value) -> Value:
        """The product of two and a third, rounded once where the processor can do that in one step."""
        return self.call("fmuladd", ir.FunctionType(VECTOR, [VECTOR] * 3), "", one, two, three)

    def times(self, number: float, vector: Value, plus: Value) -> Value:
        """A number times a vector, plus another."""
        return self.fused(self.constant(number), vector, plus)

    def limited(self, vector: Value, least: Value, most: Value) -> Value:
        """Kept between two limits; what is not a number stays."""
        build = self.builder
        vector = build.select(build.fcmp_ordered("<", vector, least), least, vector)
        return build.select(build.fcmp_ordered(">", vector, most), most, vector)

    def sigmoid(self, vector: Value) -> Value:
        """1 / (1 + exp(-vector)), within 2e-7: exp(t) is 2 ** whole times a polynomial of the rest, |rest| < 0.35.

        From 89 on 2 ** whole is infinite and the result zero.
        """
        build, one = self.builder, self.constant(1)
        negative = self.limited(build.fneg(vector), self.constant(-87), self.constant(89))
        halves = self.times(math.log2(math.e), negative, self.constant(0.5))
        whole = self.call("floor", ir.FunctionType(VECTOR, [VECTOR]), "", halves)
        rest = self.times(-math.log(2), whole, negative)
        total = self.constant(1 / math.factorial(7))
        for power in range(6, -1, -1):
            total = self.fused(total, rest, self.constant(1 / math.factorial(power)))
        exponent = build.add(build.fptosi(whole, WHOLES), ir.Constant(WHOLES, [127] * LANES))
        scale = build.bitcast(build.shl(exponent, ir.Constant(WHOLES, [23] * LANES)), VECTOR)
        return build.fdiv(one, self.fused(total, scale, one))

    def call(self, name: str, kind: ir.FunctionType, suffix: str, *arguments: Value) -> Value:
        """LLVM's intrinsic on vectors of LANES float32."""
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.{name}.v{LANES}f32{suffix}")
        return self.builder.call(function, arguments)


def function(write: Callable[..., None], whole: int, numbers: int) -> Value:
    """What `write(builder, *values)` writes, as a function of so many whole numbers and then float32, for numba."""

    @intrinsic
    def written(typing: Any, *arguments: Any) -> Any:  # noqa: ANN401
        given = types.StarArgTuple([types.intp] * whole + [types.float32] * numbers)  # type: ignore[attr-defined]
        signature = types.void(given)

        def generate(context: Any, builder: Value, _: Any, values: Any) -> Value:  # noqa: ANN401
            write(builder, *cgutils.unpack_tuple(builder, values[0]))
            return context.get_dummy_value()

        return signature, generate

    return written


def _copy(builder: Value, source: Value, target: Value, count: Value) -> None:
    vectors = Vectors(builder)
    whole = builder.mul(builder.sdiv(count, WHOLE(LANES)), WHOLE(LANES))
    with cgutils.for_range(builder, builder.sdiv(count, WHOLE(LANES))) as loop:
        place = builder.mul(loop.index, WHOLE(LANES))
        vectors.store(vectors.load(source, place), target, place)
    rest = builder.sub(count, whole)
    with builder.if_then(builder.icmp_signed(">", rest, WHOLE(0))):
        mask = vectors.mask(rest, 0)
        vectors.store(vectors.load(source, whole, mask), target, whole, mask)


copied = function(_copy, 3, 0)
"""Copies from one address to another so many numbers: LANES in a cycle; a slice of numba's takes a cycle for each."""


def arguments(*names: str) -> Any:  # noqa: ANN401  a class of these fields
    """What the threads of a kernel are told: `parts`, whole numbers of these names, low and high, in this order.

    Addresses, and sizes in numbers. np.dtype of it is numba's record.
    """
    numbers = [(name, ctypes.c_int64) for name in names]

    class Arguments(Shared):
        _fields_ = (*RUNS, *numbers, ("low", ctypes.c_float), ("high", ctypes.c_float))

    return Arguments


def kernel(work: Callable[[int], None]) -> Callable[[], Callable[[int], None]]:
    """What gives `work`, a function of the address of its arguments, as machine code that any thread may call.

    It is compiled on first use, which takes seconds, and kept on disk where a directory can be written to.
    """

    @lru_cache(maxsize=1)
    def code() -> Callable[[int], None]:
        try:
            return numba.cfunc(types.void(types.intp), cache=True)(work).ctypes
        except RuntimeError:  # no directory to keep it in
            return numba.cfunc(types.void(types.intp))(work).ctypes

    return code


@intrinsic
def counted(typing: Any, address: Any) -> Any:  # noqa: ANN401
    """The whole number at an address, which is one more afterwards: no two threads get the same."""

    def generate(context: Any, builder: Value, _: Any, values: Any) -> Value:  # noqa: ANN401
        return builder.atomic_rmw("add", builder.inttoptr(values[0], WHOLE.as_pointer()), WHOLE(1), "monotonic")

    return types.int64(types.intp), generate


@compiled
def claimed(address: int) -> int:
    """A part of the work whose arguments are at this address that no thread has yet; `parts`, or more, if none is left.

    First of the run of the thread that calls, then of the runs of the others.
    """
    shared = carray(pointer(address), 1, SHARED)[0]
    me = answered(shared.who) if shared.who != 0 else 0
    for further in range(shared.threads):
        run = (me + further) % shared.threads
        first, last = run * shared.parts // shared.threads, (run + 1) * shared.parts // shared.threads
        part = first + counted(address + 8 * run)
        if part < last:
            return part
    return shared.parts


@intrinsic
def pointer(typing: Any, address: Any) -> Any:  # noqa: ANN401
    """An address as what numba's carray takes."""

    def generate(context: Any, builder: Value, _: Any, values: Any) -> Value:  # noqa: ANN401
        return builder.inttoptr(values[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.intp), generate


@intrinsic
def answered(typing: Any, function: Any) -> Any:  # noqa: ANN401
    """What a function of nothing gives, by its address: a whole number of 32 bits."""

    def generate(context: Any, builder: Value, _: Any, values: Any) -> Value:  # noqa: ANN401
        kind = ir.FunctionType(INDEX, [])
        return builder.sext(builder.call(builder.inttoptr(values[0], kind.as_pointer()), []), WHOLE)

    return types.int64(types.intp), generate


@intrinsic
def called(typing: Any, function: Any, argument: Any) -> Any:  # noqa: ANN401
    """Call a function by its address with one whole number."""

    def generate(context: Any, builder: Value, _: Any, values: Any) -> Value:  # noqa: ANN401
        kind = ir.FunctionType(ir.VoidType(), [WHOLE])
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), [values[1]])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate
