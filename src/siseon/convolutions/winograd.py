"""3x3 convolutions in a quarter of the products: Winograd's minimal filtering (Lavin, Gray 2015, arXiv:1509.09308).

Idea    Four neighbouring outputs of a row share most of their inputs: instead of 4 x 3 products 6 are enough, on sums
        of inputs and of weights. In two directions 36 products stand for 144.
Flow    maps -> tiles of 6x6, one every 4 cells, transformed -> for each of the 36 places a matrix product over the
        channels -> tiles of 4x4, transformed back, with bias, the addition of a residual block, and activation
Here    F(4x4, 3x3), section 4.2, in channels-last memory; transforms and products in registers (registers.py). A thread
        takes a block of tiles through all three steps, so that what lies between stays in its cache; where the weights
        are many and the tiles few, all threads share each step instead, and the weights are read once.
        The polynomials meet at 0, +-sqrt(2), +-1/sqrt(2) and infinity instead of the paper's 0, +-1, +-2: that halves
        the rounding. 256 channels in bf16: 1.2 % of the deviation, a direct sum has 0.2 %; in float32 1.5e-6.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import carray
from numba.core import cgutils
from torch import Tensor

from siseon.boxes._kernels import compiled
from siseon.convolutions.registers import LIMITED, WIDTH, Activation, filled_up, multiply, multiply_pairs, panels
from siseon.convolutions.vectors import (
    HALVES,
    HAS_BFLOAT16,
    LANES,
    WHOLE,
    WHOLES,
    Value,
    Vectors,
    arguments,
    claimed,
    function,
    kernel,
    pointer,
)
from siseon.threads import in_torch_threads

POINTS = (0.0, 2**0.5, -(2**0.5), 0.5**0.5, -(0.5**0.5))
"""Where the polynomials of a row are evaluated, besides infinity. The transforms below are written for them."""

NEAR, FAR = 0.5**0.5, 2**0.5

BLOCK = 14
"""Tiles that a thread takes at once."""

HEAVY = 1 << 24
"""Bytes of weights, from which on all threads share each step of SHARED tiles."""

SHARED = 112

LEAST_TILES = 16
LEAST_CHANNELS = {torch.float32: 32, torch.bfloat16: 64}
"""Below these the transforms cost more than they save (measured with 14 to 224 cells)."""


def pays(maps: Tensor, outputs: int, dtype: torch.dtype) -> bool:
    """Whether maps [batch, channels, height, width] of this size are faster done so, to `outputs` channels."""
    if dtype not in LEAST_CHANNELS or (dtype == torch.bfloat16 and (not HAS_BFLOAT16 or maps.shape[1] % 2)):
        return False
    return min(maps.shape[1], outputs) >= LEAST_CHANNELS[dtype] and tiles(maps) >= LEAST_TILES


def tiles(maps: Tensor) -> int:
    """How many tiles of 4x4 cells cover maps [batch, channels, height, width]."""
    batch, _, height, width = maps.shape
    return batch * -(-height // 4) * -(-width // 4)


@lru_cache(maxsize=1)
def matrix() -> Tensor:
    """[36, 9]: nine weights -> what is multiplied; G of equation 14 for the points above, in both directions."""
    rows = torch.zeros(6, 3, dtype=torch.float64)
    for row, point in enumerate(POINTS):
        others = math.prod(point - other for other in POINTS if other != point)
        rows[row] = torch.tensor([1.0, point, point**2]) / others
    rows[5, 2] = 1
    return torch.kron(rows, rows).float()


def transformed(weight: Tensor) -> Tensor:
    """Weights [outputs, channels, 3, 3] -> [36, channels, outputs], of their type; the sums are in float32."""
    outputs, channels = weight.shape[:2]
    found = matrix() @ weight.detach().permute(2, 3, 1, 0).reshape(9, -1).float()
    return found.view(36, channels, outputs).to(weight.dtype)


class Transforms(Vectors):
    """Writes the code of the transforms of one tile, LANES channels at a time; the last may overlap those before.

    size: of a number of the maps, in bytes: 4 for float32, 2 for bfloat16.
    """

    def __init__(self, builder: Value, size: int) -> None:
        super().__init__(builder)
        self.size = size

    def forth(self, places: Value, channels: Value, out: Value, step: Value, *, size: int) -> None:
        """places: of 36 addresses of cells; out: of the first of 36 rows of numbers of `size`, `step` bytes apart."""
        cells, rows = self.addresses(places, 36), [self.plus(out, step, place) for place in range(36)]
        with self.each(channels) as loop:
            at, to = (self.channel(loop.index, channels, each) for each in (self.size, size))
            columns = [
                self.sums(*(self.read(self.builder.add(cells[6 * y + x], at)) for y in range(6))) for x in range(6)
            ]
            for y in range(6):
                for x, found in enumerate(self.sums(*(columns[x][y] for x in range(6)))):
                    self.put(found, self.builder.add(rows[6 * y + x], to), size)

    def back(
        self,
        products: Value,
        step: Value,
        bias: Value,
        places: Value,
        channels: Value,
        low: Value,
        high: Value,
    ) -> None:
        """products: of the first of 36 rows of float32; places: of 16 addresses to write to, and of 16 to add from."""
        build, rows = self.builder, [self.plus(products, step, place) for place in range(36)]
        cells, least, most = self.addresses(places, 32), self.spread(low), self.spread(high)
        with self.each(channels) as loop:
            at, four = (self.channel(loop.index, channels, each) for each in (self.size, 4))
            columns = [self.outputs(*(self.load(build.add(rows[6 * y + x], four)) for y in range(6))) for x in range(6)]
            shift = self.load(build.add(bias, four))
            for y in range(4):
                for x, found in enumerate(self.outputs(*(columns[x][y] for x in range(6)))):
                    cell = 4 * y + x
                    other = self.read(build.add(cells[16 + cell], at))
                    found = self.limited(build.fadd(build.fadd(found, shift), other), least, most)
                    self.put(found, build.add(cells[cell], at), self.size)

    def sums(self, a: Value, b: Value, d: Value, e: Value, f: Value, g: Value) -> Sequence[Value]:
        """Six inputs of a row -> what is multiplied: equation 14's B^T for the points above."""
        odd, even = self.times(-0.5, b, e), self.times(-0.5, d, f)
        wide_odd, wide_even = self.times(-2, b, e), self.times(-2, d, f)
        return (
            self.builder.fadd(self.times(-2.5, d, a), f),
            self.times(FAR, odd, even),
            self.times(-FAR, odd, even),
            self.times(NEAR, wide_odd, wide_even),
            self.times(-NEAR, wide_odd, wide_even),
            self.builder.fadd(self.times(-2.5, e, b), g),
        )

    def outputs(self, a: Value, b: Value, d: Value, e: Value, f: Value, g: Value) -> Sequence[Value]:
        """Six products of a row -> four outputs: A^T."""
        build = self.builder
        far, far_odd, near, near_odd = build.fadd(b, d), build.fsub(b, d), build.fadd(e, f), build.fsub(e, f)
        return (
            build.fadd(a, build.fadd(far, near)),
            self.times(FAR, far_odd, build.fmul(self.constant(NEAR), near_odd)),
            self.times(2, far, build.fmul(self.constant(0.5), near)),
            build.fadd(self.times(FAR**3, far_odd, build.fmul(self.constant(NEAR**3), near_odd)), g),
        )

    def each(self, channels: Value) -> Any:  # noqa: ANN401
        """A loop over vectors of channels."""
        return cgutils.for_range(
            self.builder, self.builder.sdiv(self.builder.add(channels, WHOLE(LANES - 1)), WHOLE(LANES))
        )

    def channel(self, vector: Value, channels: Value, size: int) -> Value:
        """How many bytes after the first channel a vector begins."""
        build = self.builder
        first, last = build.mul(vector, WHOLE(LANES)), build.sub(channels, WHOLE(LANES))
        return build.mul(build.select(build.icmp_signed("<", first, last), first, last), WHOLE(size))

    def plus(self, base: Value, step: Value, times: int) -> Value:
        """An address and so many steps."""
        return self.builder.add(base, self.builder.mul(step, WHOLE(times)))

    def read(self, address: Value) -> Value:
        """Channels of the maps as float32."""
        if self.size == 4:
            return self.load(address)
        build = self.builder
        halves = build.load(build.inttoptr(address, HALVES.as_pointer()))
        halves.align = 2
        wide = build.shl(build.zext(halves, WHOLES), ir.Constant(WHOLES, [16] * LANES))
        return build.bitcast(wide, self.constant(0).type)

    def put(self, vector: Value, address: Value, size: int) -> None:
        """Write channels as numbers of `size`; bfloat16 is rounded to the nearest, ties to even."""
        if size == 4:
            self.store(vector, address)
            return
        build, sixteen = self.builder, ir.Constant(WHOLES, [16] * LANES)
        bits = build.bitcast(vector, WHOLES)
        odd = build.and_(build.lshr(bits, sixteen), ir.Constant(WHOLES, [1] * LANES))
        rounded = build.add(bits, build.add(odd, ir.Constant(WHOLES, [0x7FFF] * LANES)))
        halves = build.trunc(build.lshr(rounded, sixteen), HALVES)
        build.store(halves, build.inttoptr(address, HALVES.as_pointer())).align = 2


def _forth_of(size: int) -> Value:
    return function(lambda builder, *values: Transforms(builder, size).forth(*values, size=size), 4, 0)


def _back_of(size: int) -> Value:
    return function(lambda builder, *values: Transforms(builder, size).back(*values), 5, 2)


_forth, _forth_halves, _back, _back_halves = _forth_of(4), _forth_of(2), _back_of(4), _back_of(2)

TRANSFORM, MULTIPLY, RETURN, ALL = range(4)


Arguments = arguments(
    "step",
    "maps",
    "weights",
    "bias",
    "zeros",
    "other",
    "out",
    "size",
    "height",
    "width",
    "channels",
    "outputs",
    "filled",
    "first",
    "tiles",
    "sums",
    "products",
)
RECORD = np.dtype(Arguments)


@compiled
def tile_cells(places: Any, side: int, a: Any, tile: int, base: int, size: int, outside: int) -> None:  # noqa: ANN401
    """The addresses of the side x side cells, of `size` bytes, of a tile; four are its own, six lie one further out."""
    down, across = (a.height + 3) // 4, (a.width + 3) // 4
    picture, place = tile // (down * across), tile % (down * across)
    out = (side - 4) // 2
    top, left = 4 * (place // across) - out, 4 * (place % across) - out
    for y in range(side):
        line = base + ((picture * a.height + top + y) * a.width + left) * size
        for x in range(side):
            inside = 0 <= top + y < a.height and 0 <= left + x < a.width
            places[side * y + x] = line + x * size if inside else outside


@compiled
def _transform(a: Any, first: int, count: int, sums: int, room: int) -> None:  # noqa: ANN401
    """`count` tiles from number `first` on, into sums [36, room, channels]."""
    places = np.empty(36, np.int64)
    cell = a.size * a.channels
    for tile in range(count):
        tile_cells(places, 6, a, first + tile, a.maps, cell, a.zeros)
        if a.size == 4:
            _forth(places.ctypes.data, a.channels, sums + tile * cell, room * cell)
        else:
            _forth_halves(places.ctypes.data, a.channels, sums + tile * cell, room * cell)


@compiled
def _products(a: Any, first: int, last: int, count: int, sums: int, products: int) -> None:  # noqa: ANN401
    """For places first to last (excluded): sums [36, count, channels] @ weights -> products [36, count, outputs]."""
    none, infinite = np.float32(-np.inf), np.float32(np.inf)
    for place in range(first, last):
        source, to = sums + a.size * place * count * a.channels, products + 4 * place * count * a.outputs
        weights = a.weights + a.size * place * a.filled * a.channels
        if a.size == 4:
            last_panel = (a.outputs + WIDTH - 1) // WIDTH
            multiply(
                source, count, a.channels, weights, 0, last_panel, a.zeros, 0, to, a.outputs, LIMITED, none, infinite
            )
        else:
            multiply_pairs(source, count, a.channels // 2, weights, a.zeros, to, a.outputs)


@compiled
def _return(a: Any, first: int, count: int, products: int, room: int, sink: int) -> None:  # noqa: ANN401
    """`count` tiles from number `first` on, of products [36, room, outputs], to their cells, or to `sink`."""
    places = np.full(32, a.zeros)
    cell = a.size * a.outputs
    for tile in range(count):
        tile_cells(places[:16], 4, a, first + tile, a.out, cell, sink)
        if a.other != 0:
            tile_cells(places[16:], 4, a, first + tile, a.other, cell, a.zeros)
        start, step = products + 4 * tile * a.outputs, 4 * room * a.outputs
        if a.size == 4:
            _back(start, step, a.bias, places.ctypes.data, a.outputs, a.low, a.high)
        else:
            _back_halves(start, step, a.bias, places.ctypes.data, a.outputs, a.low, a.high)


@compiled
def _share(a: Any, part: int, room: Any, sink: int) -> None:  # noqa: ANN401
    """A part of a step, or all steps of a block."""
    first, last = part * a.tiles // a.parts, (part + 1) * a.tiles // a.parts
    if a.step == TRANSFORM:
        _transform(a, a.first + first, last - first, a.sums + a.size * first * a.channels, a.tiles)
    elif a.step == MULTIPLY:
        _products(a, part * 36 // a.parts, (part + 1) * 36 // a.parts, a.tiles, a.sums, a.products)
    elif a.step == RETURN:
        _return(a, a.first + first, last - first, a.products + 4 * first * a.outputs, a.tiles, sink)
    else:
        first = part * BLOCK
        count = min(BLOCK, a.tiles - first)
        products = room.ctypes.data
        sums = products + 4 * 36 * count * a.outputs
        _transform(a, first, count, sums, count)
        _products(a, 0, 36, count, sums, products)
        _return(a, first, count, products, count, sink)


@kernel
def _work(address: int) -> None:
    a = carray(pointer(address), 1, RECORD)[0]
    sink = np.empty(a.outputs, np.float32)
    room = np.empty(36 * BLOCK * (a.channels + a.outputs) if a.step == ALL else 0, np.float32)
    part = claimed(address)
    while part < a.parts:
        _share(a, part, room, sink.ctypes.data)
        part = claimed(address)


class Winograd:
    """A 3x3 convolution of stride 1 with zeros around, on weights that are transformed and packed once.

    weight [outputs, channels, 3, 3], at least LANES of both: float32, or bfloat16 (an even number of channels, and
    HAS_BFLOAT16), the type of the products; bias [outputs].
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.outputs, self.channels = weight.shape[:2]
        self.dtype = weight.dtype
        self.weight = panels(transformed(weight))
        self.bias = filled_up(bias, self.outputs)
        self.zeros = filled_up(None, max(self.outputs, self.channels))

    def __call__(self, maps: Tensor, activation: Activation, other: Tensor | None = None) -> Tensor:
        """[batch, channels, height, width], channels last, of the type of the weights -> [batch, outputs, ...], so too.

        activation: limits; other: of the shape of the result, channels last; it is added before them.
        """
        batch, _, height, width = maps.shape
        result = torch.empty((batch, self.outputs, height, width), dtype=self.dtype, memory_format=torch.channels_last)
        count, threads = tiles(maps), torch.get_num_threads()
        a = Arguments(
            -(-count // BLOCK), ALL, maps.data_ptr(), self.weight.data_ptr(), self.bias.data_ptr(),
            self.zeros.data_ptr(), 0 if other is None else other.data_ptr(), result.data_ptr(), self.dtype.itemsize,
            height, width, self.channels, self.outputs, self.weight.shape[1] // self.channels, 0, count, 0, 0,
            activation.low, activation.high,
        )  # fmt: skip
        if count > BLOCK * threads and self.weight.numel() * self.dtype.itemsize < HEAVY:
            in_torch_threads(_work(), a)
            return result
        room = torch.empty(36 * min(count, SHARED) * (self.channels + self.outputs))
        a.products = room.data_ptr()
        for a.first in range(0, count, SHARED):
            a.tiles = min(SHARED, count - a.first)
            a.sums = a.products + 4 * 36 * a.tiles * self.outputs
            shares = min(a.tiles, 8 * threads)
            for a.step, a.parts in ((TRANSFORM, shares), (MULTIPLY, 36), (RETURN, shares)):
                in_torch_threads(_work(), a)
        return result
