"""What stands between convolutions, for all threads: normalising, max pooling, means over a map, factors of channels.

Small networks wait for these longer than for many of their convolutions, because an operator of torch that comes once
in a pass finds nothing of its own in the caches. Each function here gives what torch's operator of that name gives, or
None where it is not made for what it is given; only the means differ, by rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np
import torch
from numba import carray
from numba.core import cgutils
from torch import Tensor

from siseon.boxes._kernels import compiled
from siseon.convolutions.vectors import LANES, WHOLE, Value, Vectors, arguments, claimed, function, kernel, pointer
from siseon.threads import in_torch_threads

SHARES = 8
"""Parts of a map."""

NORMALISE, SUM, MEAN, SCALE, POOL = range(5)

Arguments = arguments(
    "step",
    "maps",
    "numbers",
    "deviations",
    "out",
    "batch",
    "channels",
    "height",
    "width",
    "below",
    "right",
    "down",
    "across",
    "step_down",
    "step_across",
    "top",
    "left",
)
RECORD = np.dtype(Arguments)


def _normalise(builder: Value, source: Value, target: Value, count: Value, mean: Value, deviation: Value) -> None:
    vectors = Vectors(builder)
    less, over = vectors.spread(mean), vectors.spread(deviation)
    with cgutils.for_range(builder, builder.sdiv(builder.add(count, WHOLE(LANES - 1)), WHOLE(LANES))) as loop:
        place = builder.mul(loop.index, WHOLE(LANES))
        there = vectors.mask(builder.sub(count, place), 0)
        number = builder.fdiv(builder.fsub(vectors.load(source, place, there), less), over)
        vectors.store(number, target, place, there)


_normalised = function(_normalise, 3, 2)


@compiled
def _plane(a: Any, part: int) -> None:  # noqa: ANN401
    """A share of a plane, less a mean, over a deviation."""
    plane, share, size = part // SHARES, part % SHARES, a.height * a.width
    first, last = share * size // SHARES, (share + 1) * size // SHARES
    mean = carray(pointer(a.numbers), a.channels, np.float32)[plane % a.channels]
    deviation = carray(pointer(a.deviations), a.channels, np.float32)[plane % a.channels]
    place = 4 * (plane * size + first)
    _normalised(a.maps + place, a.out + place, last - first, mean, deviation)


@compiled
def _sum(a: Any, part: int) -> None:  # noqa: ANN401
    """Add up some of the cells of a map."""
    size, share = a.height * a.width, part % SHARES
    first, last = share * size // SHARES, (share + 1) * size // SHARES
    sums = carray(pointer(a.out + 4 * part * a.channels), a.channels, np.float32)
    sums[:] = 0
    start = a.maps + 4 * (part // SHARES * size + first) * a.channels
    cells = carray(pointer(start), (last - first, a.channels), np.float32)
    for cell in range(last - first):
        for channel in range(a.channels):
            sums[channel] += cells[cell, channel]


@compiled
def _mean(a: Any, picture: int) -> None:  # noqa: ANN401
    """The mean of a map, of the sums of its shares."""
    sums = carray(pointer(a.maps + 4 * picture * SHARES * a.channels), (SHARES, a.channels), np.float32)
    means = carray(pointer(a.out + 4 * picture * a.channels), a.channels, np.float32)
    means[:] = sums[0]
    for share in range(1, SHARES):
        for channel in range(a.channels):
            means[channel] += sums[share, channel]
    cells = np.float32(a.height * a.width)
    for channel in range(a.channels):
        means[channel] /= cells


@compiled
def _scale(a: Any, part: int) -> None:  # noqa: ANN401
    """Some of the cells of a map, each channel times its factor."""
    size, picture, share = a.height * a.width, part // SHARES, part % SHARES
    first, last = share * size // SHARES, (share + 1) * size // SHARES
    to = 4 * (picture * size + first) * a.channels
    factors = carray(pointer(a.numbers + 4 * picture * a.channels), a.channels, np.float32)
    source = carray(pointer(a.maps + to), (last - first, a.channels), np.float32)
    target = carray(pointer(a.out + to), (last - first, a.channels), np.float32)
    for cell in range(last - first):
        for channel in range(a.channels):
            target[cell, channel] = source[cell, channel] * factors[channel]


@compiled
def _pool(a: Any, number: int) -> None:  # noqa: ANN401
    """A row of the greatest numbers under a window; what is not a number is the greatest."""
    picture, y = number // a.below, number % a.below
    maps = carray(pointer(a.maps), (a.batch, a.height, a.width, a.channels), np.float32)
    out = carray(pointer(a.out + 4 * number * a.right * a.channels), (a.right, a.channels), np.float32)
    for x in range(a.right):
        cell = out[x]
        cell[:] = -np.inf
        top, left = y * a.step_down - a.top, x * a.step_across - a.left
        for row in range(max(top, 0), min(top + a.down, a.height)):
            for column in range(max(left, 0), min(left + a.across, a.width)):
                seen = maps[picture, row, column]
                for channel in range(a.channels):
                    new = seen[channel]
                    cell[channel] = new if new > cell[channel] or new != new else cell[channel]


@kernel
def _work(address: int) -> None:
    a = carray(pointer(address), 1, RECORD)[0]
    part = claimed(address)
    while part < a.parts:
        if a.step == NORMALISE:
            _plane(a, part)
        elif a.step == SUM:
            _sum(a, part)
        elif a.step == MEAN:
            _mean(a, part)
        elif a.step == SCALE:
            _scale(a, part)
        else:
            _pool(a, part)
        part = claimed(address)


def _run(step: int, parts: int, given: Tensor, out: Tensor, *, numbers: int = 0, deviations: int = 0) -> None:
    sizes = (*given.shape, 0, 0, 0, 0, 0, 0, 0, 0)
    addresses = (given.data_ptr(), numbers, deviations, out.data_ptr())
    in_torch_threads(_work(), Arguments(parts, step, *addresses, *sizes))


def normalised(pictures: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """(pictures - mean) / deviation, of pictures [batch, channels, height, width]; mean and deviation [channels]."""
    pictures = pictures.contiguous()
    result = torch.empty(pictures.shape)
    numbers = {"numbers": mean.data_ptr(), "deviations": deviation.data_ptr()}
    _run(NORMALISE, pictures.shape[0] * pictures.shape[1] * SHARES, pictures, result, **numbers)
    return result


def mean(maps: Tensor, axes: Sequence[int] | None, keepdim: bool = False) -> Tensor | None:
    """The mean over height and width of maps [batch, channels, height, width], channels last."""
    if not is_map(maps) or sorted(axis % 4 for axis in axes or ()) != [2, 3]:
        return None
    batch, channels = maps.shape[:2]
    sums, result = torch.empty(batch * SHARES, channels), torch.empty(batch, channels)
    _run(SUM, batch * SHARES, maps, sums)
    given = Arguments(
        batch, MEAN, sums.data_ptr(), 0, 0, result.data_ptr(), *maps.shape, 0, 0, 0, 0, 0, 0, 0, 0
    )  # fmt: skip
    in_torch_threads(_work(), given)
    return result[:, :, None, None] if keepdim else result


def mul(maps: object, factors: object) -> Tensor | None:
    """Maps [batch, channels, height, width], channels last, times factors [batch, channels, 1, 1]."""
    if not is_map(maps) or not is_map(factors) or factors.shape != (*maps.shape[:2], 1, 1):
        return None
    result = torch.empty(maps.shape, memory_format=torch.channels_last)
    _run(SCALE, len(maps) * SHARES, maps, result, numbers=factors.data_ptr())
    return result


def max_pool2d(
    maps: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    ceil_mode: bool = False,
) -> Tensor | None:
    """The greatest number of each channel under a window, of maps [batch, channels, height, width], channels last."""
    if not is_map(maps) or ceil_mode or any(each != 1 for each in dilation):
        return None
    size, step, zeros = (tuple(each) * (2 // len(each)) for each in (kernel_size, stride or kernel_size, padding))
    batch, channels, *sides = maps.shape
    below, right = (
        (side + 2 * zero - length) // each + 1
        for side, zero, length, each in zip(sides, zeros, size, step, strict=True)
    )
    result = torch.empty((batch, channels, below, right), memory_format=torch.channels_last)
    given = Arguments(
        batch * below, POOL, maps.data_ptr(), 0, 0, result.data_ptr(), *maps.shape, below, right, *size, *step, *zeros
    )  # fmt: skip
    in_torch_threads(_work(), given)
    return result


def is_map(value: object) -> TypeGuard[Tensor]:
    """Whether this is a float32 tensor [batch, channels, height, width] with cells, channels last."""
    return (
        isinstance(value, Tensor)
        and value.ndim == 4
        and value.dtype == torch.float32
        and value.numel() > 0
        and value.is_contiguous(memory_format=torch.channels_last)
    )
