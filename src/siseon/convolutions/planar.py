"""Convolutions of pictures: few channels that lie apart, as colours come, and a kernel of any size and stride.

Flow    planes [channels, height, width] -> copied, with the zeros around them -> for a tile of cells in a row the
        number under each place of the kernel, times its weights, in registers (registers.py) -> cells of the result,
        channels last, with bias and activation
Here    Channels that lie apart need no turning, and a table says where each number under a kernel lies from the first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import carray
from torch import Tensor

from siseon.boxes._kernels import compiled
from siseon.convolutions.registers import HEIGHTS, VECTORS, WIDTH, Activation, Tile, filled_up, panels
from siseon.convolutions.vectors import LANES, WHOLE, Value, arguments, claimed, copied, function, kernel, pointer
from siseon.layers import padded_axis
from siseon.threads import in_torch_threads

MOST_CHANNELS = 4

TALL = HEIGHTS[0]


class TableTile(Tile):
    """A tile whose rows begin in the maps, and of which a table says where each number lies from there."""

    def of_table(self, table: Value, *values: Value) -> None:
        """Tile.product; table: the address of whole numbers, one for each of `depth`."""
        self.table = table
        self.product(*values)

    def place(self, index: Value) -> Value:  # noqa: D102
        return self.builder.load(self.builder.gep(self.builder.inttoptr(self.table, WHOLE.as_pointer()), [index]))


def _product(vectors: int) -> Value:
    return function(lambda builder, *values: TableTile(builder, TALL, vectors).of_table(*values), 11, 2)


_wide, _narrow = _product(VECTORS), _product(1)

PAD, MULTIPLY = range(2)

Arguments = arguments(
    "step",
    "maps",
    "weights",
    "bias",
    "padded",
    "out",
    "batch",
    "channels",
    "height",
    "width",
    "down",
    "across",
    "step_down",
    "step_across",
    "top",
    "left",
    "below",
    "right",
    "outputs",
    "kind",
)
RECORD = np.dtype(Arguments)


@compiled
def _pad(a: Any, plane: int, height: int, width: int) -> None:  # noqa: ANN401
    """Copy a plane, with zeros where there are no cells; what no kernel reaches is left out."""
    source, target = a.maps + 4 * plane * a.height * a.width, a.padded + 4 * plane * height * width
    inside = min(a.width, width - a.left)
    for y in range(height):
        row = carray(pointer(target + 4 * y * width), width, np.float32)
        if a.top <= y < a.top + a.height:
            row[: a.left] = 0
            copied(source + 4 * (y - a.top) * a.width, target + 4 * (y * width + a.left), inside)
            row[a.left + inside :] = 0
        else:
            row[:] = 0


@compiled
def _row(a: Any, number: int, table: int, height: int, width: int) -> None:  # noqa: ANN401
    """A row of the result, over all pictures."""
    picture, y = number // a.below, number % a.below
    start = a.padded + 4 * (picture * a.channels * height + y * a.step_down) * width
    depth, count, step, step_out = a.channels * a.down * a.across, TALL, a.step_across, a.outputs
    if a.right < TALL:  # each cell alone, as often as a tile has rows, at the same place
        count, step, step_out = 1, 0, 0
    for tile in range((a.right + count - 1) // count):
        x = min(tile * count, a.right - count)  # the last tile overlaps the one before
        source, to = start + 4 * x * a.step_across, a.out + 4 * (number * a.right + x) * a.outputs
        for column in range(0, a.outputs, WIDTH):
            columns, weights, bias, out = a.outputs - column, 4 * column * depth, a.bias + 4 * column, to + 4 * column
            weights += a.weights
            if columns > LANES:
                _wide(table, source, step, weights, depth, bias, 0, out, step_out, columns, a.kind, a.low, a.high)
            else:
                _narrow(table, source, step, weights, depth, bias, 0, out, step_out, columns, a.kind, a.low, a.high)


@kernel
def _work(address: int) -> None:
    a = carray(pointer(address), 1, RECORD)[0]
    height, width = (a.below - 1) * a.step_down + a.down, (a.right - 1) * a.step_across + a.across
    table, number = np.empty(a.channels * a.down * a.across, np.int64), 0
    for channel in range(a.channels):
        for y in range(a.down):
            for x in range(a.across):
                table[number] = (channel * height + y) * width + x
                number += 1
    part = claimed(address)
    while part < a.parts:
        if a.step == PAD:
            _pad(a, part, height, width)
        else:
            rows = a.batch * a.below
            for each in range(part * rows // a.parts, (part + 1) * rows // a.parts):
                _row(a, each, table.ctypes.data, height, width)
        part = claimed(address)


class Planar:
    """A convolution of few channels on weights [outputs, channels, down, across] that are packed once, and bias.

    padding: zeros on each side, down and across; None puts them where TensorFlow's SAME does.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, *, stride: tuple[int, int], padding: tuple[int, int] | None
    ) -> None:
        self.outputs, self.channels, *self.kernel = weight.shape
        self.weight = panels(weight.detach().float().flatten(1).T)
        self.bias = filled_up(bias, self.outputs)
        self.stride, self.padding = stride, padding

    def __call__(self, maps: Tensor, activation: Activation) -> Tensor:
        """[batch, channels, height, width], float32 -> [batch, outputs, below, right], channels last."""
        maps = maps.contiguous()
        batch, channels, height, width = maps.shape
        (top, below), (left, right) = map(
            padded_axis, (height, width), self.kernel, self.stride, self.padding or (None, None)
        )
        (step_down, step_across), (down, across) = self.stride, self.kernel
        room = torch.empty(batch, channels, (below - 1) * step_down + down, (right - 1) * step_across + across)
        result = torch.empty((batch, self.outputs, below, right), memory_format=torch.channels_last)
        given = Arguments(
            batch * channels, PAD, maps.data_ptr(), self.weight.data_ptr(), self.bias.data_ptr(), room.data_ptr(),
            result.data_ptr(), batch, channels, height, width, down, across, step_down, step_across, top,
            left, below, right, self.outputs, *activation,
        )  # fmt: skip
        in_torch_threads(_work(), given)
        given.step, given.parts = MULTIPLY, min(batch * below, 4 * torch.get_num_threads())
        in_torch_threads(_work(), given)
        return result
