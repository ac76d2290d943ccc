"""A tile of sums that stays in the registers of the processor from its first product to its last.

Idea    A core can multiply and add a whole vector of numbers in each cycle, if they are at hand. A tile of sums stays
        in registers; each step loads a row of weights and a number from each row of maps, and uses every one of them
        many times (Goto, van de Geijn 2008, doi:10.1145/1356052.1356053).
Flow    maps [rows, depth], weights in panels [depth, WIDTH] -> sums [rows, outputs], with bias, a map that is added and
        an activation, while they are still in registers
Here    LLVM finds the registers that this processor has (vectors.py). One core of 3.6 GHz does 116 of the 117 GFLOP/s
        that it can (196 x 576 x 256), and 234 on bfloat16.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from llvmlite import ir
from numba.core import cgutils
from torch import Tensor

from siseon.boxes._kernels import compiled
from siseon.convolutions.vectors import FLOAT, HAS_BFLOAT16, LANES, VECTOR, WHOLE, BFloat16, Value, Vectors, function

HEIGHTS = {16: (7, 8), 8: (6, 5), 4: (7, 8)}[LANES]
"""Rows of a tile, two choices, of which the one that divides the rows better is taken. The sums and the weights must
fit the registers. Seven divides the 7, 14, 28, 56 and 112 cells of the classifiers' maps."""

VECTORS = 2
WIDTH = VECTORS * LANES
"""Columns of a tile: of a panel of weights."""

LIMITED, SIGMOID, SWISH, TANH = range(4)


class Activation(NamedTuple):
    """What becomes of a sum: it is kept between two limits, or a function is applied (SIGMOID, SWISH, TANH)."""

    kind: int = LIMITED
    low: float = -math.inf
    high: float = math.inf


class Tile(Vectors):
    """Writes the code of a tile: height x (vectors * LANES) sums."""

    def __init__(self, builder: Value, height: int, vectors: int) -> None:
        super().__init__(builder)
        self.height, self.vectors = height, vectors
        places = [(row, vector) for row in range(height) for vector in range(vectors)]
        self.totals = {place: cgutils.alloca_once(builder, VECTOR) for place in places}  # LLVM finds them registers

    def product(
        self,
        maps: Value,
        step: Value,
        panel: Value,
        depth: Value,
        bias: Value,
        other: Value,
        out: Value,
        outputs: Value,
        columns: Value,
        activation: Value,
        low: Value,
        high: Value,
    ) -> None:
        """To out: activation(bias + maps @ panel + other); `other` may be missing, address 0."""
        build = self.builder
        for row in range(self.height):
            for vector in range(self.vectors):
                for base in (out, other):
                    self.prefetch(self.row(base, outputs, row), vector * LANES)
        self.start(bias)
        rows = [self.row(maps, step, row) for row in range(self.height)]
        with cgutils.for_range(build, depth) as loop:
            start = build.mul(loop.index, WHOLE(self.vectors * LANES))
            weights = [self.load(panel, build.add(start, WHOLE(v * LANES))) for v in range(self.vectors)]
            place = self.place(loop.index)
            numbers = [self.spread(build.load(self.pointer(row, place, FLOAT))) for row in rows]
            for (row, vector), total in self.totals.items():
                build.store(self.added(numbers[row], weights[vector], build.load(total)), total)
        self.end(other, out, outputs, columns, activation, low, high)

    def place(self, index: Value) -> Value:
        """Where the number for a step of the sums lies, from the start of its row."""
        return index

    def added(self, numbers: Value, weights: Value, total: Value) -> Value:
        """A step of the sum."""
        return self.fused(numbers, weights, total)

    def row(self, base: Value, step: Value, number: int) -> Value:
        """The address of a row."""
        return self.builder.add(base, self.builder.mul(step, WHOLE(4 * number)))

    def start(self, bias: Value) -> None:
        """All rows begin with the bias."""
        for (_, vector), total in self.totals.items():
            self.builder.store(self.load(bias, vector * LANES), total)

    def end(
        self, other: Value, out: Value, outputs: Value, columns: Value, activation: Value, low: Value, high: Value
    ) -> None:
        """Add the other map, apply the activation, and write: all columns, or those that there are."""
        build = self.builder
        whole = build.icmp_signed(">=", columns, WHOLE(self.vectors * LANES))
        masks = [self.mask(columns, vector * LANES) for vector in range(self.vectors)]
        with build.if_then(build.icmp_signed("!=", other, WHOLE(0))), build.if_else(whole) as (all_, some):
            with all_:
                self.add(other, outputs, [None] * self.vectors)
            with some:
                self.add(other, outputs, masks)
        self.activate(activation, self.spread(low), self.spread(high))
        with build.if_else(whole) as (all_, some):
            with all_:
                self.write(out, outputs, [None] * self.vectors)
            with some:
                self.write(out, outputs, masks)

    def add(self, other: Value, outputs: Value, masks: Sequence[Value]) -> None:
        """The sums and another map."""
        for (row, vector), total in self.totals.items():
            added = self.load(self.row(other, outputs, row), vector * LANES, masks[vector])
            self.builder.store(self.builder.fadd(self.builder.load(total), added), total)

    def activate(self, activation: Value, low: Value, high: Value) -> None:
        """Limits, or one of the functions."""
        build = self.builder
        with build.if_else(build.icmp_signed("==", activation, WHOLE(LIMITED))) as (limited, curved):
            with limited:
                for total in self.totals.values():
                    build.store(self.limited(build.load(total), low, high), total)
            with curved:
                swish, tanh = (self.spread(build.icmp_signed("==", activation, WHOLE(each))) for each in (SWISH, TANH))
                two = build.select(tanh, self.constant(2), self.constant(1))
                plus = build.select(tanh, self.constant(-1), self.constant(0))
                for total in self.totals.values():  # tanh(x) is 2 sigmoid(2 x) - 1
                    number = build.load(total)
                    factor = build.select(swish, number, two)
                    build.store(self.fused(factor, self.sigmoid(build.fmul(number, two)), plus), total)

    def write(self, out: Value, outputs: Value, masks: Sequence[Value]) -> None:
        """The sums to their place."""
        for (row, vector), total in self.totals.items():
            self.store(self.builder.load(total), self.row(out, outputs, row), vector * LANES, masks[vector])


class PairTile(Tile):
    """A tile of which maps and panels are pairs of bfloat16, as wide as a float32; depth and steps count pairs."""

    def added(self, numbers: Value, weights: Value, total: Value) -> Value:  # noqa: D102
        pairs = ir.VectorType(BFloat16(), 2 * LANES)
        kind = ir.FunctionType(VECTOR, [VECTOR, pairs, pairs])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.x86.avx512bf16.dpbf16ps.512")
        return self.builder.call(function, [total, *(self.builder.bitcast(each, pairs) for each in (numbers, weights))])


def _product(height: int, vectors: int, kind: type[Tile] = Tile) -> Value:
    return function(lambda builder, *values: kind(builder, height, vectors).product(*values), 10, 2)


_wide, _narrow = _product(HEIGHTS[0], VECTORS), _product(HEIGHTS[0], 1)
_other_wide, _other_narrow = _product(HEIGHTS[1], VECTORS), _product(HEIGHTS[1], 1)
_wide_pairs, _narrow_pairs = (
    _product(HEIGHTS[0], vectors, PairTile if HAS_BFLOAT16 else Tile) for vectors in (VECTORS, 1)
)


@compiled
def multiply(
    maps: int,
    rows: int,
    depth: int,
    weights: int,
    first: int,
    last: int,
    bias: int,
    other: int,
    out: int,
    outputs: int,
    activation: int,
    low: np.float32,
    high: np.float32,
) -> None:
    """To out [rows, outputs]: activation(maps @ weights + bias + other), for panels first to last (excluded).

    Addresses of maps [rows, depth], `panels` of weights, bias filled up to whole panels, other [rows, outputs] or 0.
    """
    tall, other_tall = HEIGHTS
    other_height = (rows + other_tall - 1) // other_tall * other_tall < (rows + tall - 1) // tall * tall
    height, step, step_out = other_tall if other_height else tall, depth, outputs
    if rows < height:  # each row alone, as often as a tile has rows, at the same place
        height, step, step_out = 1, 0, 0
    for panel in range(first, last):
        column = panel * WIDTH
        columns, weight, shift = outputs - column, weights + 4 * column * depth, bias + 4 * column
        for number in range((rows + height - 1) // height):
            row = min(number * height, rows - height)  # the last tile overlaps the one before
            to, source = 4 * (row * outputs + column), maps + 4 * row * depth
            beside = other + to if other != 0 else 0
            to += out
            if columns > LANES:
                if other_height:
                    _other_wide(
                        source, step, weight, depth, shift, beside, to, step_out, columns, activation, low, high
                    )
                else:
                    _wide(source, step, weight, depth, shift, beside, to, step_out, columns, activation, low, high)
            elif other_height:
                _other_narrow(source, step, weight, depth, shift, beside, to, step_out, columns, activation, low, high)
            else:
                _narrow(source, step, weight, depth, shift, beside, to, step_out, columns, activation, low, high)


@compiled
def multiply_pairs(maps: int, rows: int, depth: int, weights: int, bias: int, out: int, outputs: int) -> None:
    """To out [rows, outputs], float32: maps [rows, depth] @ weights + bias, where depth counts pairs of bfloat16."""
    height, step, step_out = HEIGHTS[0], depth, outputs
    if rows < height:
        height, step, step_out = 1, 0, 0
    low, high = np.float32(-np.inf), np.float32(np.inf)
    for column in range(0, outputs, WIDTH):
        columns, weight, shift = outputs - column, weights + 4 * column * depth, bias + 4 * column
        for number in range((rows + height - 1) // height):
            row = min(number * height, rows - height)
            to, source = out + 4 * (row * outputs + column), maps + 4 * row * depth
            if columns > LANES:
                _wide_pairs(source, step, weight, depth, shift, 0, to, step_out, columns, LIMITED, low, high)
            else:
                _narrow_pairs(source, step, weight, depth, shift, 0, to, step_out, columns, LIMITED, low, high)


def shares(cells: int, outputs: int, *, heavy: bool, few: int, each: int) -> tuple[int, int]:
    """How many parts the cells, and the panels, of a product are divided into.

    Where the weights are heavy, or there are fewer tiles than `few` to a thread, each thread takes panels of its own,
    in `each` parts; else it takes tiles.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        return 1, 1
    columns, tiles = -(-outputs // WIDTH), -(-cells // HEIGHTS[0])
    if columns >= 2 * threads and (heavy or tiles < few * threads):
        return 1, min(columns, each * threads)
    return min(tiles, 4 * threads), 1


def panels(weight: Tensor) -> Tensor:
    """Weights [..., depth, outputs] panel after panel: each [depth, WIDTH], the last [depth, LANES] if that is enough.

    Of bfloat16 two rows lie side by side, as pairs; depth is even. Returns [..., depth * outputs filled up to LANES].
    """
    depth, outputs = weight.shape[-2:]
    pair = 2 if weight.dtype == torch.bfloat16 else 1
    filled = F.pad(weight, (0, -outputs % LANES)).reshape(*weight.shape[:-2], depth // pair, pair, -1)
    whole = filled.shape[-1] // WIDTH * WIDTH
    parts = [
        # [..., depth, pair, panels, width] -> [..., panels, depth, width, pair]
        part.reshape(*part.shape[:-1], -1, width).movedim(-2, -4).transpose(-1, -2).flatten(-4)
        for part, width in ((filled[..., :whole], WIDTH), (filled[..., whole:], LANES))
        if part.shape[-1]
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts, -1)


def filled_up(numbers: Tensor | None, size: int) -> Tensor:
    """Float32 numbers and zeros after them, up to whole panels of `size` columns."""
    filled = torch.zeros(-(-size // WIDTH) * WIDTH)
    if numbers is not None:
        filled[: len(numbers)] = numbers
    return filled
