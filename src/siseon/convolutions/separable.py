"""A depthwise convolution with the 1x1 convolutions around it, a row at a time (Sandler et al. 2018, figure 4).

Idea    The widened map of an inverted residual block is the largest of the network, and nobody but the depthwise
        convolution needs it: of its rows only those under the kernel are there at a time, in the cache of one core.
Flow    a row of maps -> widened into a ring of as many rows as the kernel has -> a row of each channel's own sums ->
        narrowed to a row of the result, with the addition of the block
Here    Where a thread's run of rows begins, the rows above it are widened once more; for small maps that costs more
        than it saves, and their weights are too many to be read again for each row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import carray
from torch import Tensor

from siseon.boxes._kernels import compiled
from siseon.convolutions.depthwise import TALL, Depthwise, convolve_rows
from siseon.convolutions.pointwise import Pointwise
from siseon.convolutions.registers import WIDTH, Activation, multiply
from siseon.convolutions.vectors import LANES, arguments, claimed, copied, kernel, pointer
from siseon.layers import padded_axis
from siseon.threads import in_torch_threads

TWICE = 0.15
"""The greatest share of the rows that may be widened twice: by both threads at whose meeting they lie."""

HEAVY = 1 << 19
"""Bytes of weights, half of a core's second cache, from which on they are not to be read for each row again."""

Arguments = arguments(
    "maps",
    "wide_weights",
    "wide_bias",
    "weights",
    "bias",
    "narrow_weights",
    "narrow_bias",
    "limits",
    "other",
    "out",
    "batch",
    "height",
    "width",
    "channels",
    "hidden",
    "filled",
    "outputs",
    "below",
    "right",
    "kernel",
    "stride",
    "top",
    "left",
    "wide_kind",
    "kind",
    "narrow_kind",
)
RECORD = np.dtype(Arguments)


@compiled
def _fill(a: Any, row: int, target: int) -> None:  # noqa: ANN401
    """Write a row of the maps, of all pictures, widened if there are weights for it."""
    limits, panels = carray(pointer(a.limits), 4, np.float32), (a.hidden + WIDTH - 1) // WIDTH
    source = a.maps + 4 * row * a.width * a.channels
    if a.wide_weights != 0:
        multiply(
            source, a.width, a.channels, a.wide_weights, 0, panels, a.wide_bias, 0, target, a.hidden, a.wide_kind,
            limits[0], limits[1],
        )  # fmt: skip
    else:
        copied(source, target, a.width * a.hidden)


@compiled
def _row(a: Any, number: int, places: Any, sums: int) -> None:  # noqa: ANN401
    """A row of the result, of all pictures; places: the addresses of the rows under its kernels."""
    limits, panels = carray(pointer(a.limits), 4, np.float32), (a.outputs + WIDTH - 1) // WIDTH
    target, before = sums if a.narrow_weights != 0 else a.out + 4 * number * a.right * a.hidden, 0
    for tile in range((a.right + TALL - 1) // TALL):
        x = min(tile * TALL, a.right - TALL)  # the last tile overlaps the one before
        for row in range(a.kernel):
            places[row] += 4 * (x - before) * a.stride * a.hidden
        before = x
        convolve_rows(
            a.kernel, a.stride, places.ctypes.data, a.weights, a.filled, a.bias, target + 4 * x * a.hidden, a.hidden,
            a.kind, limits[2], limits[3],
        )  # fmt: skip
    if a.narrow_weights != 0:
        to = 4 * number * a.right * a.outputs
        multiply(
            sums, a.right, a.hidden, a.narrow_weights, 0, panels, a.narrow_bias, a.other + to if a.other != 0 else 0,
            a.out + to, a.outputs, a.narrow_kind, a.low, a.high,
        )  # fmt: skip


@kernel
def _work(address: int) -> None:
    a = carray(pointer(address), 1, RECORD)[0]
    pitch = 4 * max(a.left + a.width, (a.right - 1) * a.stride + a.kernel) * a.hidden
    ring = np.zeros((a.kernel + 1) * pitch // 4 + LANES, np.float32)  # the last row stays zeros; vectors may reach on
    places = np.empty(a.kernel, np.int64)
    sums = np.empty(a.right * a.hidden if a.narrow_weights != 0 else 0, np.float32)
    rows, there, before = a.batch * a.below, 0, -1  # rows of the picture up to which they were filled; of the result
    part = claimed(address)
    while part < a.parts:
        for number in range(part * rows // a.parts, (part + 1) * rows // a.parts):
            picture, top = number // a.below, number % a.below * a.stride - a.top
            there = max(there if number == before + 1 and top > -a.top else 0, top, 0)
            for row in range(there, min(top + a.kernel, a.height)):
                to = ring.ctypes.data + row % a.kernel * pitch + 4 * a.left * a.hidden
                _fill(a, picture * a.height + row, to)
            there, before = min(top + a.kernel, a.height), number
            for row in range(a.kernel):
                slot = (top + row) % a.kernel if 0 <= top + row < a.height else a.kernel
                places[row] = ring.ctypes.data + slot * pitch
            _row(a, number, places, sums.ctypes.data)
        part = claimed(address)


class Separable:
    """A depthwise convolution, with the 1x1 convolutions before and after it or one of them."""

    def __init__(self, wide: Pointwise | None, own: Depthwise, narrow: Pointwise | None) -> None:
        self.wide, self.own, self.narrow = wide, own, narrow
        self.limits: dict[tuple[float, ...], np.ndarray[Any, Any]] = {}

    def pays(self, maps: Tensor) -> bool:
        """Whether maps [batch, channels, height, width] of this size are faster done so."""
        batch, _, height, width = maps.shape
        right = self._sides(height, width)[1][1]
        twice = (self.own.kernel - self.own.stride) * torch.get_num_threads() if self.wide else 0
        weights = sum(each.weight.numel() for each in (self.wide, self.narrow) if each)
        return right >= TALL and twice <= TWICE * batch * height and 4 * weights <= HEAVY

    def __call__(
        self,
        maps: Tensor,
        wide: Activation,
        own: Activation,
        narrow: Activation,
        other: Tensor | None = None,
    ) -> Tensor:
        """[batch, channels, height, width], float32, channels last -> [batch, outputs, below, right], so too.

        wide, own, narrow: what becomes of the sums of each; other: of the shape of the result, channels last; it is
        added before the last of them. Each row of the result has at least TALL cells.
        """
        batch, channels, height, width = maps.shape
        (top, below), (left, right) = self._sides(height, width)
        outputs = self.narrow.outputs if self.narrow else self.own.channels
        result = torch.empty((batch, outputs, below, right), memory_format=torch.channels_last)
        given = Arguments(
            min(batch * below, 4 * torch.get_num_threads()), maps.data_ptr(), *_packed(self.wide),
            self.own.weight.data_ptr(), self.own.bias.data_ptr(), *_packed(self.narrow), self._limits(wide, own),
            0 if other is None else other.data_ptr(), result.data_ptr(), batch, height, width,
            channels, self.own.channels, len(self.own.bias), outputs, below, right, self.own.kernel, self.own.stride,
            top, left, wide.kind, own.kind, *narrow,
        )  # fmt: skip
        in_torch_threads(_work(), given)
        return result

    def _sides(self, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Zeros before each axis, and cells of the result."""
        zeros, size, step = self.own.padding or (None, None), self.own.kernel, self.own.stride
        return padded_axis(height, size, step, zeros[0]), padded_axis(width, size, step, zeros[1])

    def _limits(self, wide: Activation, own: Activation) -> int:
        """The address of the limits of the first two activations, which stay there."""
        limits = (wide.low, wide.high, own.low, own.high)
        if limits not in self.limits:
            self.limits[limits] = np.array(limits, np.float32)
        return self.limits[limits].ctypes.data


def _packed(product: Pointwise | None) -> tuple[int, int]:
    """The addresses of weights and bias; zeros where there is no product."""
    return (product.weight.data_ptr(), product.bias.data_ptr()) if product else (0, 0)
