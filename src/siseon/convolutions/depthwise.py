"""Convolutions of each channel by itself (depthwise), a share of the rows for each thread.

Flow    maps, channels last -> for each tile of cells in a row the addresses of the cells under its kernels, or of zeros
        where there are none -> all products of LANES channels in registers -> bias, activation -> cells of the result
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numba import carray
from numba.core import cgutils
from torch import Tensor

from siseon.boxes._kernels import compiled
from siseon.convolutions.registers import HEIGHTS, Activation, Tile, filled_up
from siseon.convolutions.vectors import LANES, WHOLE, Value, arguments, claimed, function, kernel, pointer
from siseon.layers import padded_axis
from siseon.threads import in_torch_threads

KINDS = tuple(((kernel, kernel), (stride, stride)) for kernel in (3, 5) for stride in (1, 2))
"""Kernels and strides that there is code for."""

TALL = HEIGHTS[0]


class Taps(Tile):
    """Writes the code of a tile of cells in a row: every channel's own sum over the kernel."""

    def __init__(self, builder: Value, kernel: int, stride: int) -> None:
        super().__init__(builder, TALL, 1)
        self.kernel, self.stride = kernel, stride

    def sums(self, places: Value, *values: Value) -> None:
        """To out [cells, channels] what `each` is told; places: of addresses, [kernel, across]."""
        across = (self.height - 1) * self.stride + self.kernel
        cells = self.addresses(places, self.kernel * across)

        def seen(row: int, channel: Value, channels: Value) -> Sequence[Value]:
            there = self.mask(self.builder.sub(channels, channel), 0)
            return [self.load(cells[row * across + x], channel, there) for x in range(across)]

        self.each(seen, *values)

    def sums_of_rows(self, places: Value, *values: Value) -> None:
        """The same of cells that follow each other in each row, zeros too; places: of addresses, [kernel]."""
        across = (self.height - 1) * self.stride + self.kernel
        rows = self.addresses(places, self.kernel)

        def seen(row: int, channel: Value, channels: Value) -> Sequence[Value]:
            build = self.builder
            return [self.load(rows[row], build.add(build.mul(channels, WHOLE(x)), channel)) for x in range(across)]

        self.each(seen, *values)

    def each(
        self,
        seen: Callable[[int, Value, Value], Sequence[Value]],
        weights: Value,
        filled: Value,
        bias: Value,
        out: Value,
        channels: Value,
        activation: Value,
        low: Value,
        high: Value,
    ) -> None:
        """For each vector of channels the sums over what is `seen` in each row of the kernel."""
        build = self.builder
        count = build.sdiv(build.add(channels, WHOLE(LANES - 1)), WHOLE(LANES))
        with cgutils.for_range(build, count) as loop:
            channel = build.mul(loop.index, WHOLE(LANES))
            place = build.mul(channel, WHOLE(4))
            self.start(build.add(bias, place))
            for row in range(self.kernel):
                numbers = seen(row, channel, channels)
                for column in range(self.kernel):
                    tap = build.mul(filled, WHOLE(row * self.kernel + column))
                    weight = self.load(weights, build.add(tap, channel))
                    for (cell, _), total in self.totals.items():
                        found = self.fused(numbers[cell * self.stride + column], weight, build.load(total))
                        build.store(found, total)
            rest = build.sub(channels, channel)
            self.end(WHOLE(0), build.add(out, place), channels, rest, activation, low, high)


def _sums(kernel: int, stride: int) -> Value:
    return function(lambda builder, *values: Taps(builder, kernel, stride).sums(*values), 7, 2)


def _sums_of_rows(kernel: int, stride: int) -> Value:
    return function(lambda builder, *values: Taps(builder, kernel, stride).sums_of_rows(*values), 7, 2)


_three, _three_two, _five, _five_two = (_sums(kernel, stride) for (kernel, _), (stride, _) in KINDS)
_three_rows, _three_two_rows, _five_rows, _five_two_rows = (
    _sums_of_rows(kernel, stride) for (kernel, _), (stride, _) in KINDS
)


Arguments = arguments(
    "maps",
    "weights",
    "bias",
    "zeros",
    "out",
    "batch",
    "height",
    "width",
    "channels",
    "filled",
    "below",
    "right",
    "kernel",
    "stride",
    "top",
    "left",
    "kind",
)
RECORD = np.dtype(Arguments)


@compiled
def _places(a: Any, picture: int, y: int, x: int, places: Any) -> None:  # noqa: ANN401
    """The addresses of the cells under the kernels of a tile that begins at (x, y) of the result."""
    across = (TALL - 1) * a.stride + a.kernel
    for row in range(a.kernel):
        down = y * a.stride - a.top + row
        left = x * a.stride - a.left
        line = a.maps + 4 * ((picture * a.height + down) * a.width + left) * a.channels
        for column in range(across):
            inside = 0 <= down < a.height and 0 <= left + column < a.width
            places[row * across + column] = line + 4 * column * a.channels if inside else a.zeros


@compiled
def convolve(
    kernel: int,
    stride: int,
    places: int,
    weights: int,
    filled: int,
    bias: int,
    out: int,
    channels: int,
    kind: int,
    low: np.float32,
    high: np.float32,
) -> None:
    """A tile of TALL cells to out [cells, channels]; places: where the addresses lie of what is under its kernels."""
    if kernel == 3 and stride == 1:
        _three(places, weights, filled, bias, out, channels, kind, low, high)
    elif kernel == 3:
        _three_two(places, weights, filled, bias, out, channels, kind, low, high)
    elif stride == 1:
        _five(places, weights, filled, bias, out, channels, kind, low, high)
    else:
        _five_two(places, weights, filled, bias, out, channels, kind, low, high)


@compiled
def convolve_rows(
    kernel: int,
    stride: int,
    places: int,
    weights: int,
    filled: int,
    bias: int,
    out: int,
    channels: int,
    kind: int,
    low: np.float32,
    high: np.float32,
) -> None:
    """The same, where the cells of a row follow each other; places: where the addresses lie of the rows."""
    if kernel == 3 and stride == 1:
        _three_rows(places, weights, filled, bias, out, channels, kind, low, high)
    elif kernel == 3:
        _three_two_rows(places, weights, filled, bias, out, channels, kind, low, high)
    elif stride == 1:
        _five_rows(places, weights, filled, bias, out, channels, kind, low, high)
    else:
        _five_two_rows(places, weights, filled, bias, out, channels, kind, low, high)


@compiled
def _row(a: Any, number: int, places: Any, sink: Any) -> None:  # noqa: ANN401
    """A row of the result, over all pictures."""
    to = a.out + 4 * number * a.right * a.channels
    for tile in range((a.right + TALL - 1) // TALL):
        # the last tile overlaps the one before; of a narrow map it has cells that there are not
        x = max(min(tile * TALL, a.right - TALL), 0)
        _places(a, number // a.below, number % a.below, x, places)
        out = to + 4 * x * a.channels if a.right >= TALL else sink.ctypes.data
        convolve(
            a.kernel, a.stride, places.ctypes.data, a.weights, a.filled, a.bias, out, a.channels, a.kind, a.low, a.high
        )
        if a.right < TALL:
            line = carray(pointer(to), a.right * a.channels, np.float32)
            for place in range(len(line)):
                line[place] = sink[place]


@kernel
def _work(address: int) -> None:
    a = carray(pointer(address), 1, RECORD)[0]
    places = np.empty(a.kernel * ((TALL - 1) * a.stride + a.kernel), np.int64)
    sink = np.empty(TALL * a.channels if a.right < TALL else 0, np.float32)
    rows = a.batch * a.below
    part = claimed(address)
    while part < a.parts:
        for number in range(part * rows // a.parts, (part + 1) * rows // a.parts):
            _row(a, number, places, sink)
        part = claimed(address)


class Depthwise:
    """A convolution of each channel by itself on weights [channels, 1, kernel, kernel], and bias [channels].

    padding: zeros on each side, down and across; None puts them where TensorFlow's SAME does.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, *, stride: int, padding: tuple[int, int] | None) -> None:
        self.channels, _, self.kernel, _ = weight.shape
        self.stride, self.padding = stride, padding
        self.bias = filled_up(bias, self.channels)
        self.weight = torch.zeros(self.kernel**2, len(self.bias))
        self.weight[:, : self.channels] = weight.detach().view(self.channels, -1).T
        self.zeros = torch.zeros(len(self.bias))

    def __call__(self, maps: Tensor, activation: Activation) -> Tensor:
        """[batch, channels, height, width], float32, channels last -> [batch, channels, below, right], so too."""
        batch, channels, height, width = maps.shape
        zeros = self.padding or (None, None)
        top, below = padded_axis(height, self.kernel, self.stride, zeros[0])
        left, right = padded_axis(width, self.kernel, self.stride, zeros[1])
        result = torch.empty((batch, channels, below, right), memory_format=torch.channels_last)
        given = Arguments(
            min(batch * below, 4 * torch.get_num_threads()), maps.data_ptr(), self.weight.data_ptr(),
            self.bias.data_ptr(), self.zeros.data_ptr(), result.data_ptr(), batch, height, width, channels,
            len(self.bias), below, right, self.kernel, self.stride, top, left, *activation,
        )  # fmt: skip
        in_torch_threads(_work(), given)
        return result
