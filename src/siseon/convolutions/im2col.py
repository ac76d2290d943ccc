"""Convolutions as a product with what lies under the kernel (im2col), a few cells at a time.

Idea    The numbers under a kernel, one after another, are a row of a matrix; the convolution is a product with it
        (Chellapilla, Puri, Simard 2006). Only the rows of a few cells are ever written out, so they stay in the cache.
Flow    maps, channels last -> for a block of cells what lies under a few rows of their kernels [cells, depth] ->
        registers.py -> sums, to which the next rows of the kernels add -> with bias, the addition of a residual block,
        and activation
Here    For what winograd.py, pointwise.py and depthwise.py leave: strides, kernels other than 3x3, small maps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import carray
from torch import Tensor

from siseon.boxes._kernels import compiled
from siseon.convolutions.registers import HEIGHTS, LIMITED, WIDTH, Activation, filled_up, multiply, panels, shares
from siseon.convolutions.vectors import LANES, arguments, claimed, copied, kernel, pointer
from siseon.layers import padded_axis
from siseon.threads import in_torch_threads

BLOCK = 8 * HEIGHTS[0]
"""Cells whose rows are written out at once."""

DEPTH = 1536
"""Longer rows are taken one row of the kernel at a time: those of a block and a panel of weights fit a core's cache."""

MOST_CELLS = 1024
"""Of a result: for more, oneDNN is up to a tenth faster, unless the kernel is 1x1 (measured with 25 to 10,000)."""

MOST_DEPTH = 6144
"""Of a row: a panel of weights for it still fits the cache."""

HEAVY = 1 << 21
"""Bytes of weights from which on each thread takes its own share of them."""


def pays(maps: Tensor, kernel: tuple[int, ...], stride: tuple[int, int]) -> bool:
    """Whether maps [batch, channels, height, width] of this size are to be convolved so."""
    batch, channels, height, width = maps.shape
    cells = batch * (height // stride[0]) * (width // stride[1])
    return kernel == (1, 1) or (cells <= MOST_CELLS and channels * kernel[0] * kernel[1] <= MOST_DEPTH)


Arguments = arguments(
    "shares",
    "maps",
    "weights",
    "bias",
    "zeros",
    "other",
    "out",
    "batch",
    "height",
    "width",
    "channels",
    "down",
    "across",
    "step_down",
    "step_across",
    "top",
    "left",
    "below",
    "right",
    "outputs",
    "rows",
    "kind",
)
RECORD = np.dtype(Arguments)


@compiled
def _under(a: Any, cell: int, first: int, target: int) -> None:  # noqa: ANN401
    """Write what lies under `rows` rows of the kernel, from row `first` on, at a cell of the result."""
    picture, place = cell // (a.below * a.right), cell % (a.below * a.right)
    top = place // a.right * a.step_down - a.top + first
    left = place % a.right * a.step_across - a.left
    before, after = max(-left, 0), max(min(a.width - left, a.across), 0)
    if before > 0 or after < a.across or top < 0 or top + a.rows > a.height:
        carray(pointer(target), a.rows * a.across * a.channels, np.float32)[:] = 0
    start = a.maps + 4 * ((picture * a.height + top) * a.width + left + before) * a.channels
    for row in range(max(0, -top), min(a.rows, a.height - top)):
        source, to = start + 4 * row * a.width * a.channels, target + 4 * (row * a.across + before) * a.channels
        copied(source, to, max(after - before, 0) * a.channels)


@compiled
def _block(a: Any, cell: int, count: int, first: int, last: int, room: int, sums: int) -> None:  # noqa: ANN401
    """`count` cells from number `cell` on, panels first to last (excluded)."""
    to, filled = 4 * cell * a.outputs, (a.outputs + LANES - 1) // LANES * LANES
    none, infinite = np.float32(-np.inf), np.float32(np.inf)
    depth, other = a.rows * a.across * a.channels, a.other + to if a.other != 0 else 0
    for row in range(0, a.down, a.rows):
        for each in range(count):
            _under(a, cell + each, row, room + 4 * each * depth)
        weights = a.weights + 4 * row * a.across * a.channels * filled
        if row + a.rows == a.down:
            multiply(
                room, count, depth, weights, first, last, a.bias, other, a.out + to, a.outputs, a.kind, a.low, a.high
            )
        else:  # never where `other` lies: the last tile overlaps the one before, and would add to its sums again
            out = sums + 4 * (row // a.rows % 2) * BLOCK * a.outputs
            multiply(room, count, depth, weights, first, last, a.zeros, other, out, a.outputs, LIMITED, none, infinite)
            other = out


@kernel
def _work(address: int) -> None:
    a = carray(pointer(address), 1, RECORD)[0]
    room = np.empty(BLOCK * a.rows * a.across * a.channels, np.float32)
    sums = np.empty(2 * BLOCK * a.outputs if a.rows < a.down else 0, np.float32)
    tile, panels, cells = HEIGHTS[0], (a.outputs + WIDTH - 1) // WIDTH, a.batch * a.below * a.right
    tiles, below = (cells + tile - 1) // tile, a.parts // a.shares
    part = claimed(address)
    while part < a.parts:
        share, place = part % a.shares, part // a.shares
        first, last = share * panels // a.shares, (share + 1) * panels // a.shares
        stop = min((place + 1) * tiles // below * tile, cells)
        for cell in range(place * tiles // below * tile, stop, BLOCK):
            _block(a, cell, min(BLOCK, stop - cell), first, last, room.ctypes.data, sums.ctypes.data)
        part = claimed(address)


class Im2col:
    """A convolution on weights [outputs, channels, down, across] that are packed once, and bias [outputs].

    padding: zeros on each side, down and across; None puts them where TensorFlow's SAME does.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, *, stride: tuple[int, int], padding: tuple[int, int] | None
    ) -> None:
        self.outputs, self.channels, *self.kernel = weight.shape
        down, _ = self.kernel
        self.rows = down if weight[0].numel() <= DEPTH else 1
        # [outputs, channels, down, across] -> [parts, depth, outputs]
        rows = weight.detach().float().permute(2, 3, 1, 0).reshape(down // self.rows, -1, self.outputs)
        self.weight = panels(rows)
        self.bias, self.zeros = filled_up(bias, self.outputs), filled_up(None, self.outputs)
        self.stride, self.padding = stride, padding

    def __call__(self, maps: Tensor, activation: Activation, other: Tensor | None = None) -> Tensor:
        """[batch, channels, height, width], float32, channels last -> [batch, outputs, below, right], so too.

        other: of the shape of the result, channels last; it is added before the activation.
        """
        batch, channels, height, width = maps.shape
        (top, below), (left, right) = map(
            padded_axis, (height, width), self.kernel, self.stride, self.padding or (None, None)
        )
        result = torch.empty((batch, self.outputs, below, right), memory_format=torch.channels_last)
        heavy = 4 * self.weight.numel() > HEAVY
        places, parts = shares(batch * below * right, self.outputs, heavy=heavy, few=8, each=1)
        given = Arguments(
            places * parts, parts, maps.data_ptr(), self.weight.data_ptr(), self.bias.data_ptr(),
            self.zeros.data_ptr(), 0 if other is None else other.data_ptr(), result.data_ptr(), batch, height, width,
            channels, *self.kernel, *self.stride, top, left, below, right, self.outputs, self.rows, *activation,
        )  # fmt: skip
        in_torch_threads(_work(), given)
        return result
