"""3x3 convolutions in a quarter of the products: Winograd's minimal filtering (Lavin, Gray 2015, arXiv:1509.09308).

Idea    Four neighbouring outputs of a row share most of their inputs: instead of 4 x 3 products 6 are enough, on sums
        of inputs and of weights. In two directions 36 products stand for 144.
Flow    maps -> tiles of 6x6, one every 4 cells, transformed -> for each of the 36 places a matrix product over the
        channels -> tiles of 4x4, transformed back, with bias and rectifier
Here    F(4x4, 3x3), section 4.2, in channels-last memory. The products are one grouped 1x1 convolution of oneDNN, a
        group for each place; the transforms run over the channels in numba. Tiles go through in blocks, so that what
        lies between stays in the cache.
        The polynomials meet at 0, +-sqrt(2), +-1/sqrt(2) and infinity instead of the paper's 0, +-1, +-2: that halves
        the rounding (256 channels in bf16: 1.3 % of the deviation against 2.7 %; a direct sum has 0.25 %).
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from siseon.boxes._kernels import Floats, compiled
from siseon.threads import in_threads

BLOCK = 128
"""Most tiles transformed at once by a thread: the product is a third faster on 112 of them than on 56."""
FEW = 64
"""Up to so many tiles are one block: the caller transforms them, and torch's threads share the 36 places of the
product. Shared by tiles, each thread would read all the weights, which are four times those of a direct convolution.
"""
LANES = 16
"""Outputs are filled up to a multiple of this: oneDNN's product is half as fast on others."""

LEAST_TILES = 16
LEAST_CHANNELS = {torch.float32: 64, torch.bfloat16: 128}
LEAST_WORK = {torch.float32: 4_000, torch.bfloat16: 8_000}
"""Tiles times channels. Below these limits the transforms cost more than they save (measured with 7 to 300 cells)."""

POINTS = (0.0, 2**0.5, -(2**0.5), 0.5**0.5, -(0.5**0.5))
"""Where the polynomials of a row are evaluated, besides infinity. The transforms below are written for them."""


def pays(maps: Tensor, outputs: int, dtype: torch.dtype) -> bool:
    """Whether maps [batch, channels, height, width] of this size are faster done so, to `outputs` channels."""
    if dtype not in LEAST_WORK:
        return False
    least, count = min(maps.shape[1], outputs), tiles(maps)
    return least >= LEAST_CHANNELS[dtype] and count >= LEAST_TILES and count * least >= LEAST_WORK[dtype]


def tiles(maps: Tensor) -> int:
    """How many tiles of 4x4 cells cover maps [batch, channels, height, width]."""
    batch, _, height, width = maps.shape
    return batch * -(-height // 4) * -(-width // 4)


def transformed(weight: Tensor) -> Tensor:
    """Weights [outputs, channels, 3, 3] as those of the grouped convolution, [36 * outputs, channels, 1, 1]."""
    outputs, channels = weight.shape[:2]
    matrix = torch.zeros(6, 3, dtype=torch.float64)
    for row, point in enumerate(POINTS):
        others = math.prod(point - other for other in POINTS if other != point)
        matrix[row] = torch.tensor([1.0, point, point**2]) / others
    matrix[5, 2] = 1
    filled = F.pad(weight.detach().double(), (0, 0, 0, 0, 0, 0, 0, -outputs % LANES))
    return (matrix @ filled @ matrix.T).permute(2, 3, 0, 1).reshape(-1, channels, 1, 1)


class Winograd:
    """A 3x3 convolution of stride 1 with zeros around, on weights that are transformed and packed once.

    weight [outputs, channels, 3, 3], float32 or bfloat16: the type of the products; bias [outputs]; relu: whether a
    rectifier follows; tiles: of the maps to come, see `tiles`; with another number it is right, but may be slower.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, *, relu: bool, tiles: int) -> None:
        self.channels, self.outputs = weight.shape[1], weight.shape[0]
        share = -(-tiles // torch.get_num_threads())
        self.block = tiles if tiles <= FEW else 8 * -(-share // (8 * -(-share // BLOCK)))
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(
            transformed(weight).to(weight.dtype), (0, 0), (1, 1), (1, 1), 36, [1, 36 * self.channels, self.block, 1]
        )
        self.bias = (torch.zeros(self.outputs) if bias is None else bias.detach().float()).numpy()
        self.floor = np.float32(0 if relu else -np.inf)

    def __call__(self, maps: Tensor) -> Tensor:
        """[batch, channels, height, width], channels last -> [batch, outputs, height, width] of the same type.

        The maps have the type of the weights.
        """
        batch, _, height, width = maps.shape
        result = torch.empty(batch, self.outputs, height, width, dtype=maps.dtype, memory_format=torch.channels_last)
        pixels, out = (numbers(each.permute(0, 2, 3, 1)) for each in (maps, result))
        total, block = tiles(maps), self.block
        blocks = -(-total // block)

        def work(part: int, parts: int) -> None:
            room = torch.empty(block, 36, self.channels, dtype=maps.dtype)
            # [tiles, 36, channels] is [1, 36 * channels, tiles, 1] in channels-last memory
            columns = room.view(1, block, 1, -1).permute(0, 3, 1, 2)
            for number in range(part, blocks, parts):
                first, count = number * block, min(block, total - number * block)
                _forth(pixels, numbers(room), first, count)
                products = torch.ops.mkldnn._convolution_pointwise(
                    columns, self.weight, None, (0, 0), (1, 1), (1, 1), 36, "none", (), ""
                )
                found = numbers(products.permute(0, 2, 3, 1).view(block, 36, -1))
                _back(found, self.bias, self.floor, out, first, count)

        in_threads(work, most=blocks)
        return result


def numbers(tensor: Tensor) -> Numbers:
    """The tensor's memory as an array: of float32, or of the bits of bfloat16, which NumPy does not know."""
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


# plain numbers would make the compiled sums float64
NEAR, FAR, NEAR_CUBED, FAR_CUBED = (np.float32(number) for number in (0.5**0.5, 2**0.5, 0.5**1.5, 2**1.5))
HALF, TWO, BOTH = (np.float32(number) for number in (0.5, 2, 2.5))
SIXTEEN, ONE, ALMOST = (np.uint32(number) for number in (16, 1, 0x7FFF))

Numbers: TypeAlias = Floats | NDArray[np.uint16]
"""Maps as float32, or as the bits of bfloat16, the upper half of a float32's."""


@compiled
def _read(cell: Numbers, line: Floats) -> None:
    """The channels of a cell, [channels], as float32."""
    if cell.itemsize == 2:
        bits = line.view(np.uint32)
        for c in range(len(line)):
            bits[c] = np.uint32(cell[c]) << SIXTEEN
    else:
        for c in range(len(line)):
            line[c] = cell[c]


@compiled
def _write(line: Floats, cell: Numbers) -> None:
    """Float32 channels into a cell; bfloat16 is rounded to the nearest, ties to even."""
    if cell.itemsize == 2:
        bits = line.view(np.uint32)
        for c in range(len(line)):
            cell[c] = np.uint16((bits[c] + ALMOST + ((bits[c] >> SIXTEEN) & ONE)) >> SIXTEEN)
    else:
        for c in range(len(line)):
            cell[c] = line[c]


@compiled
def _forth(pixels: Numbers, out: Numbers, first: int, count: int) -> None:
    """Tiles from number `first` on, of pixels [batch, height, width, channels], into out [tiles, 36, channels]."""
    _, height, width, channels = pixels.shape
    down, across = -(-height // 4), -(-width // 4)
    row = np.empty((6, channels), np.float32)
    half = np.empty((6, 6, channels), np.float32)
    for tile in range(count):
        number = first + tile
        picture, place = number // (down * across), number % (down * across)
        top, left = 4 * (place // across) - 1, 4 * (place % across) - 1
        for x in range(6):
            inside = 0 <= left + x < width
            for y in range(6):
                if inside and 0 <= top + y < height:
                    _read(pixels[picture, top + y, left + x], row[y])
                else:
                    row[y] = 0
            for c in range(channels):
                a, b, d, e, f, g = row[0, c], row[1, c], row[2, c], row[3, c], row[4, c], row[5, c]
                half[0, x, c] = a - BOTH * d + f
                half[1, x, c] = (f - HALF * d) + FAR * (e - HALF * b)
                half[2, x, c] = (f - HALF * d) - FAR * (e - HALF * b)
                half[3, x, c] = (f - TWO * d) + NEAR * (e - TWO * b)
                half[4, x, c] = (f - TWO * d) - NEAR * (e - TWO * b)
                half[5, x, c] = b - BOTH * e + g
        for y in range(6):
            for c in range(channels):
                a, b, d = half[y, 0, c], half[y, 1, c], half[y, 2, c]
                e, f, g = half[y, 3, c], half[y, 4, c], half[y, 5, c]
                row[0, c] = a - BOTH * d + f
                row[1, c] = (f - HALF * d) + FAR * (e - HALF * b)
                row[2, c] = (f - HALF * d) - FAR * (e - HALF * b)
                row[3, c] = (f - TWO * d) + NEAR * (e - TWO * b)
                row[4, c] = (f - TWO * d) - NEAR * (e - TWO * b)
                row[5, c] = b - BOTH * e + g
            for x in range(6):
                _write(row[x], out[tile, 6 * y + x])


@compiled
def _back(products: Numbers, bias: Floats, floor: np.float32, out: Numbers, first: int, count: int) -> None:
    """Tiles [tiles, 36, outputs] from number `first` on, into their cells of out [batch, height, width, outputs]."""
    _, height, width, outputs = out.shape
    down, across = -(-height // 4), -(-width // 4)
    row = np.empty((6, outputs), np.float32)
    half = np.empty((4, 6, outputs), np.float32)
    for tile in range(count):
        number = first + tile
        picture, place = number // (down * across), number % (down * across)
        top, left = 4 * (place // across), 4 * (place % across)
        for x in range(6):
            for y in range(6):
                _read(products[tile, 6 * y + x, :outputs], row[y])
            for c in range(outputs):
                a, b, d, e, f, g = row[0, c], row[1, c], row[2, c], row[3, c], row[4, c], row[5, c]
                half[0, x, c] = a + (b + d) + (e + f)
                half[1, x, c] = FAR * (b - d) + NEAR * (e - f)
                half[2, x, c] = TWO * (b + d) + HALF * (e + f)
                half[3, x, c] = FAR_CUBED * (b - d) + NEAR_CUBED * (e - f) + g
        for y in range(min(4, height - top)):
            for c in range(outputs):
                a, b, d = half[y, 0, c], half[y, 1, c], half[y, 2, c]
                e, f, g = half[y, 3, c], half[y, 4, c], half[y, 5, c]
                shift = bias[c]
                row[0, c] = max(a + (b + d) + (e + f) + shift, floor)
                row[1, c] = max(FAR * (b - d) + NEAR * (e - f) + shift, floor)
                row[2, c] = max(TWO * (b + d) + HALF * (e + f) + shift, floor)
                row[3, c] = max(FAR_CUBED * (b - d) + NEAR_CUBED * (e - f) + g + shift, floor)
            for x in range(min(4, width - left)):
                _write(row[x], out[picture, top + y, left + x])
