"""3x3 convolutions that learn: forward, and both gradients, by Winograd's way (winograd.py), in float32 and bfloat16.

Idea    The gradient of the maps is a convolution too, with the weights turned round. That of the weights is a sum over
        tiles: where a tile gave A^T [U . V] A, with U of the weights and V of the maps, dU is V . (A dY A^T), summed.
Flow    weights -> 36 matrices, anew at each step -> forward; dY -> the same transform of turned weights -> dX
        maps and dY -> transformed tiles -> 36 matrix products over the tiles -> dU -> G^T dU G -> dW
Here    A layer changes its class and keeps its tensors and their names. It is a plain nn.Conv2d wherever nothing
        learns, on other devices, and on small maps. The sums over the tiles are in float32 in either type.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import carray
from numba.core import cgutils
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from siseon.boxes._kernels import compiled
from siseon.convolutions.registers import VECTORS, WIDTH, Activation, Tile
from siseon.convolutions.vectors import (
    FLOAT,
    HAS_BFLOAT16,
    LANES,
    WHOLE,
    Value,
    arguments,
    claimed,
    function,
    kernel,
    pointer,
)
from siseon.convolutions.winograd import FAR, NEAR, SHARED, Transforms, Winograd, matrix, tile_cells, tiles
from siseon.threads import in_torch_threads

LEAST = {torch.float32: (64, 128), torch.bfloat16: (256, 512)}
"""Channels and tiles below which a plain convolution is faster (measured with 32 to 512 channels, 18 to 3200 tiles)."""

TALL = 4 if LANES == 8 else 8
"""Rows of a tile of sums: channels of the maps, which must be a multiple of it."""


class TurnedTile(Tile):
    """Writes the code of a tile of maps.T @ weights, added to what is there."""

    def added_up(
        self, maps: Value, step: Value, weights: Value, weight_step: Value, depth: Value, out: Value, outputs: Value
    ) -> None:
        """Out [height, outputs] += maps [depth, height].T @ weights [depth, columns]; steps from row to row."""
        build = self.builder
        for (row, vector), total in self.totals.items():
            build.store(self.load(self.row(out, outputs, row), vector * LANES), total)
        with cgutils.for_range(build, depth) as loop:
            cells, line = (build.mul(loop.index, each) for each in (step, weight_step))
            rows = [self.load(weights, build.add(line, WHOLE(v * LANES))) for v in range(self.vectors)]
            for row in range(self.height):
                number = self.spread(build.load(self.pointer(maps, build.add(cells, WHOLE(row)), FLOAT)))
                for vector in range(self.vectors):
                    total = self.totals[row, vector]
                    build.store(self.fused(number, rows[vector], build.load(total)), total)
        self.write(out, outputs, [None] * self.vectors)


class Gradients(Transforms):
    """Writes the code of the transform of a tile of gradients."""

    def spread_out(self, places: Value, channels: Value, out: Value, step: Value) -> None:
        """A dY A^T; places: of 16 addresses of cells; out: of the first of 36 rows of float32, `step` bytes apart."""
        cells, rows = self.addresses(places, 16), [self.plus(out, step, place) for place in range(36)]
        with self.each(channels) as loop:
            at, to = (self.channel(loop.index, channels, each) for each in (self.size, 4))
            columns = [
                self.inputs(*(self.read(self.builder.add(cells[4 * y + x], at)) for y in range(4))) for x in range(4)
            ]
            for y in range(6):
                for x, found in enumerate(self.inputs(*(columns[x][y] for x in range(4)))):
                    self.put(found, self.builder.add(rows[6 * y + x], to), 4)

    def inputs(self, a: Value, b: Value, d: Value, e: Value) -> tuple[Value, ...]:
        """Four gradients of a row -> those of six products: `Transforms.outputs`, turned round."""
        build = self.builder
        found = [a]
        for point in (FAR, NEAR):
            even = self.times(point**2, d, a)
            odd = self.times(point**3, e, build.fmul(self.constant(point), b))
            found += [build.fadd(even, odd), build.fsub(even, odd)]
        return (*found, e)


def _forth_of(size: int) -> Value:
    return function(lambda builder, *values: Transforms(builder, size).forth(*values, size=4), 4, 0)


def _gradients_of(size: int) -> Value:
    return function(lambda builder, *values: Gradients(builder, size).spread_out(*values), 4, 0)


def _added_up(vectors: int) -> Value:
    return function(lambda builder, *values: TurnedTile(builder, TALL, vectors).added_up(*values), 7, 0)


_forth, _forth_halves, _gradients, _gradients_halves = _forth_of(4), _forth_of(2), _gradients_of(4), _gradients_of(2)
_wide, _narrow = _added_up(VECTORS), _added_up(1)

TRANSFORM, MULTIPLY = range(2)


Arguments = arguments(
    "step",
    "maps",
    "gradient",
    "zeros",
    "sums",
    "spread",
    "out",
    "size",
    "height",
    "width",
    "channels",
    "outputs",
    "first",
    "tiles",
)
RECORD = np.dtype(Arguments)


@compiled
def _transform(a: Any, first: int, last: int) -> None:  # noqa: ANN401
    """Tiles first to last (excluded) of a block, of the maps and of the gradient."""
    places = np.empty(36, np.int64)
    for tile in range(first, last):
        tile_cells(places, 6, a, a.first + tile, a.maps, a.size * a.channels, a.zeros)
        to, step = a.sums + 4 * tile * a.channels, 4 * a.tiles * a.channels
        if a.size == 4:
            _forth(places.ctypes.data, a.channels, to, step)
        else:
            _forth_halves(places.ctypes.data, a.channels, to, step)
        tile_cells(places, 4, a, a.first + tile, a.gradient, a.size * a.outputs, a.zeros)
        to, step = a.spread + 4 * tile * a.outputs, 4 * a.tiles * a.outputs
        if a.size == 4:
            _gradients(places.ctypes.data, a.outputs, to, step)
        else:
            _gradients_halves(places.ctypes.data, a.outputs, to, step)


@compiled
def _multiply(a: Any, place: int) -> None:  # noqa: ANN401
    """Out [36, channels, outputs] += sums [36, tiles, channels].T @ spread [36, tiles, outputs], for one place."""
    sums, spread = a.sums + 4 * place * a.tiles * a.channels, a.spread + 4 * place * a.tiles * a.outputs
    out = a.out + 4 * place * a.channels * a.outputs
    for column in range(0, a.outputs, WIDTH):
        for row in range(0, a.channels, TALL):
            at, line, to = sums + 4 * row, spread + 4 * column, out + 4 * (row * a.outputs + column)
            if column + WIDTH <= a.outputs:
                _wide(at, a.channels, line, a.outputs, a.tiles, to, a.outputs)
            else:
                _narrow(at, a.channels, line, a.outputs, a.tiles, to, a.outputs)


@kernel
def _work(address: int) -> None:
    a = carray(pointer(address), 1, RECORD)[0]
    part = claimed(address)
    while part < a.parts:
        if a.step == TRANSFORM:
            _transform(a, part * a.tiles // a.parts, (part + 1) * a.tiles // a.parts)
        else:
            _multiply(a, part)
        part = claimed(address)


def pays(maps: Tensor, outputs: int, dtype: torch.dtype) -> bool:
    """Whether layers of `outputs` channels learn faster so on maps [batch, channels, height, width] of this size."""
    if dtype not in LEAST or (dtype == torch.bfloat16 and not HAS_BFLOAT16):
        return False
    channels, count = LEAST[dtype]
    return min(maps.shape[1], outputs) >= channels and tiles(maps) >= count


def gradient_of_weights(maps: Tensor, gradient: Tensor) -> Tensor:
    """[outputs, channels, 3, 3] in float32, of maps [batch, channels, height, width] and the gradient of the result.

    Both channels last and of one type, float32 or bfloat16; channels are a multiple of TALL, outputs of LANES.
    """
    _, channels, height, width = maps.shape
    outputs, count, threads = gradient.shape[1], tiles(maps), torch.get_num_threads()
    found = torch.zeros(36, channels, outputs)
    room, zeros = torch.empty(36 * min(count, SHARED) * (channels + outputs)), torch.zeros(max(channels, outputs))
    a = Arguments(
        0, 0, maps.data_ptr(), gradient.data_ptr(), zeros.data_ptr(), room.data_ptr(), 0, found.data_ptr(),
        maps.dtype.itemsize, height, width, channels, outputs,
    )  # fmt: skip
    for a.first in range(0, count, SHARED):
        a.tiles = min(SHARED, count - a.first)
        a.spread = a.sums + 4 * 36 * a.tiles * channels
        shares = min(a.tiles, 8 * threads)
        for a.step, a.parts in ((TRANSFORM, shares), (MULTIPLY, 36)):
            in_torch_threads(_work(), a)
    return (matrix().T @ found.view(36, -1)).view(3, 3, channels, outputs).permute(3, 2, 0, 1)


class WinogradFunction(torch.autograd.Function):
    """A 3x3 convolution and its gradients."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: ANN401
        """[batch, channels, height, width], channels last, [outputs, channels, 3, 3] of the same type, [outputs]."""
        ctx.save_for_backward(maps, weight)
        with torch.autocast("cpu", enabled=False):
            return Winograd(weight, bias)(maps, Activation())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        """The gradients of the maps, the weights and the bias."""
        maps, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_maps = of_weight = of_bias = None
        with torch.autocast("cpu", enabled=False):
            if ctx.needs_input_grad[0]:
                of_maps = Winograd(weight.flip(2, 3).transpose(0, 1), None)(gradient, Activation())
            if ctx.needs_input_grad[1]:
                of_weight = gradient_of_weights(maps, gradient).to(weight.dtype)
            if ctx.needs_input_grad[2]:
                of_bias = gradient.sum((0, 2, 3), dtype=torch.float32)
        return of_maps, of_weight, of_bias


class LearningConv2d(nn.Conv2d):
    """A 3x3 convolution of stride 1 with zeros around that learns faster on a processor."""

    def forward(self, maps: Tensor) -> Tensor:  # noqa: D102
        learns = self.training and torch.is_grad_enabled() and maps.device.type == "cpu"
        cast = torch.is_autocast_enabled("cpu")
        dtype = torch.get_autocast_dtype("cpu") if cast else self.weight.dtype
        if not (learns and (cast or maps.dtype == dtype) and pays(maps, self.out_channels, dtype)):
            return super().forward(maps)
        maps = maps.to(dtype).contiguous(memory_format=torch.channels_last)
        return WinogradFunction.apply(maps, self.weight.to(dtype), self.bias)  # type: ignore[no-untyped-call]


def quicken(model: nn.Module) -> None:
    """Let the 3x3 convolutions of a model learn so, in place: they change their class, and keep tensors and names."""
    for layer in model.modules():
        if type(layer) is nn.Conv2d and _is_known(layer):
            layer.__class__ = LearningConv2d


def _is_known(layer: nn.Conv2d) -> bool:
    shape = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups, layer.padding_mode)
    counts = (layer.in_channels, layer.out_channels)
    fits = not any(count % LANES for count in counts)
    return shape == ((3, 3), (1, 1), (1, 1), (1, 1), 1, "zeros") and fits
