"""1x1 convolutions of stride 1: one matrix product, a share of the cells or of the outputs for each thread.

Flow    maps, channels last: [cells, channels] -> registers.py, panel by panel -> [cells, outputs] with bias, the
        addition of a residual block, and activation
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import carray
from torch import Tensor

from siseon.boxes._kernels import compiled
from siseon.convolutions.registers import HEIGHTS, WIDTH, Activation, filled_up, multiply, panels, shares
from siseon.convolutions.vectors import arguments, claimed, kernel, pointer
from siseon.threads import in_torch_threads

HEAVY = 1 << 19
"""Bytes of weights, half of a core's second cache, from which on each thread takes its own share of them."""

BLOCK = 4
"""Tiles of rows that pass over all panels before the next do: what they read and write stays in the second cache."""


Arguments = arguments(
    "across",
    "maps",
    "weights",
    "bias",
    "other",
    "out",
    "cells",
    "channels",
    "outputs",
    "kind",
)
RECORD = np.dtype(Arguments)


@compiled
def _share(a: Any, part: int) -> None:  # noqa: ANN401
    """Part number `part`: some of the cells, some of the panels."""
    tile, panels, down = HEIGHTS[0], (a.outputs + WIDTH - 1) // WIDTH, a.parts // a.across
    tiles = (a.cells + tile - 1) // tile
    across, below = part % a.across, part // a.across
    first, last = across * panels // a.across, (across + 1) * panels // a.across
    stop = min((below + 1) * tiles // down * tile, a.cells)
    block = BLOCK * tile
    for cell in range(below * tiles // down * tile, stop, block):
        to = 4 * cell * a.outputs
        multiply(
            a.maps + 4 * cell * a.channels, min(block, stop - cell), a.channels, a.weights, first, last, a.bias,
            a.other + to if a.other != 0 else 0, a.out + to, a.outputs, a.kind, a.low, a.high,
        )  # fmt: skip


@kernel
def _work(address: int) -> None:
    a = carray(pointer(address), 1, RECORD)[0]
    part = claimed(address)
    while part < a.parts:
        _share(a, part)
        part = claimed(address)


class Pointwise:
    """A 1x1 convolution on weights [outputs, channels] that are packed once, and bias [outputs]."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.outputs, self.channels = weight.shape
        self.weight = panels(weight.detach().float().T)
        self.bias = filled_up(bias, self.outputs)

    def __call__(self, maps: Tensor, activation: Activation, other: Tensor | None = None) -> Tensor:
        """[batch, channels, height, width], float32, channels last -> [batch, outputs, height, width], so too.

        other: of the shape of the result, channels last; it is added before the activation.
        """
        batch, _, height, width = maps.shape
        result = torch.empty((batch, self.outputs, height, width), memory_format=torch.channels_last)
        cells = batch * height * width
        heavy = 4 * self.weight.numel() > HEAVY
        down, across = shares(cells, self.outputs, heavy=heavy, few=2, each=4)
        given = Arguments(
            down * across, across, maps.data_ptr(), self.weight.data_ptr(), self.bias.data_ptr(),
            0 if other is None else other.data_ptr(), result.data_ptr(), cells, self.channels, self.outputs,
            *activation,
        )  # fmt: skip
        in_torch_threads(_work(), given)
        return result
