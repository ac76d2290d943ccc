"""3x3 convolutions in a quarter of the products: Winograd's minimal filtering (Lavin, Gray 2015, arXiv:1509.09308).

Idea    Four neighbouring outputs of a row share most of their inputs: instead of 4 x 3 products 6 are enough, on sums
        of inputs and of weights. In two directions 36 products stand for 144.
Flow    maps -> tiles of 6x6, one every 4 cells, transformed -> for each of the 36 places a matrix product over the
        channels -> tiles of 4x4, transformed back, with bias and rectifier
Here    F(4x4, 3x3), section 4.2, for float32 maps in channels-last memory. The products are one grouped 1x1 convolution
        of oneDNN, a group for each place; the transforms run over the channels in numba. Tiles go through in blocks, so
        that what lies between stays in the cache. The result differs from the direct sum by about 4e-6 of its size.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from siseon.boxes._kernels import Floats, compiled
from siseon.threads import in_threads

BLOCK = 64
"""Tiles transformed at once by a thread; 64 of 256 channels are 2.4 MB. With fewer oneDNN would pack weights anew."""

LEAST_CHANNELS = 256
LEAST_WORK = 16_000
"""Tiles times channels below which the transforms cost more than they save (measured with 256 and 512 channels)."""

WEIGHTS = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
"""G of section 4.2: three weights of a row to the six that meet a transformed tile."""


def pays(maps: Tensor, outputs: int) -> bool:
    """Whether maps [batch, channels, height, width] of this size are faster done so, to `outputs` channels."""
    batch, channels, height, width = maps.shape
    tiles = batch * -(-height // 4) * -(-width // 4)
    return min(channels, outputs) >= LEAST_CHANNELS and tiles * min(channels, outputs) >= LEAST_WORK


def transformed(weight: Tensor) -> Tensor:
    """Weights [outputs, channels, 3, 3] as those of the grouped convolution, [36 * outputs, channels, 1, 1]."""
    outputs, channels = weight.shape[:2]
    matrix = torch.from_numpy(WEIGHTS)
    tiles = matrix @ weight.detach().double() @ matrix.T
    return tiles.permute(2, 3, 0, 1).reshape(36 * outputs, channels, 1, 1).float()


class Winograd:
    """A 3x3 convolution of stride 1 with zeros around, on weights that are transformed and packed once.

    weight [outputs, channels, 3, 3]; bias [outputs]; relu: whether a rectifier follows.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, *, relu: bool) -> None:
        self.channels, self.outputs = weight.shape[1], weight.shape[0]
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(
            transformed(weight), (0, 0), (1, 1), (1, 1), 36, [1, 36 * self.channels, BLOCK, 1]
        )
        self.bias = (torch.zeros(self.outputs) if bias is None else bias.detach().float()).numpy()
        self.floor = np.float32(0 if relu else -np.inf)

    def __call__(self, maps: Tensor) -> Tensor:
        """[batch, channels, height, width] float32, channels last -> [batch, outputs, height, width], channels last."""
        batch, _, height, width = maps.shape
        result = torch.empty(batch, self.outputs, height, width, memory_format=torch.channels_last)
        pixels, out = (each.permute(0, 2, 3, 1).numpy() for each in (maps, result))
        tiles = batch * -(-height // 4) * -(-width // 4)
        blocks = -(-tiles // BLOCK)

        def work(part: int, parts: int) -> None:
            room = torch.empty(BLOCK, 36, self.channels)
            # [tiles, 36, channels] is [1, 36 * channels, tiles, 1] in channels-last memory
            columns = room.view(1, BLOCK, 1, -1).permute(0, 3, 1, 2)
            for block in range(part, blocks, parts):
                first, count = block * BLOCK, min(BLOCK, tiles - block * BLOCK)
                _forth(pixels, room.numpy(), first, count)
                products = torch.ops.mkldnn._convolution_pointwise(
                    columns, self.weight, None, (0, 0), (1, 1), (1, 1), 36, "none", (), ""
                )
                _back(
                    products.permute(0, 2, 3, 1).view(BLOCK, 36, -1).numpy(), self.bias, self.floor, out, first, count
                )

        in_threads(work, most=blocks)
        return result


# plain numbers would make the compiled sums float64
TWO, FOUR, FIVE, EIGHT = (np.float32(number) for number in (2, 4, 5, 8))


@compiled
def _forth(pixels: Floats, out: Floats, first: int, count: int) -> None:
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
                    row[y] = pixels[picture, top + y, left + x]
                else:
                    row[y] = 0
            for c in range(channels):
                a, b, d, e, f, g = row[0, c], row[1, c], row[2, c], row[3, c], row[4, c], row[5, c]
                half[0, x, c] = FOUR * a - FIVE * d + f
                half[1, x, c] = (e + f) - FOUR * (b + d)
                half[2, x, c] = (f - e) + FOUR * (b - d)
                half[3, x, c] = (f - d) + TWO * (e - b)
                half[4, x, c] = (f - d) + TWO * (b - e)
                half[5, x, c] = FOUR * b - FIVE * e + g
        for y in range(6):
            for c in range(channels):
                a, b, d = half[y, 0, c], half[y, 1, c], half[y, 2, c]
                e, f, g = half[y, 3, c], half[y, 4, c], half[y, 5, c]
                out[tile, 6 * y, c] = FOUR * a - FIVE * d + f
                out[tile, 6 * y + 1, c] = (e + f) - FOUR * (b + d)
                out[tile, 6 * y + 2, c] = (f - e) + FOUR * (b - d)
                out[tile, 6 * y + 3, c] = (f - d) + TWO * (e - b)
                out[tile, 6 * y + 4, c] = (f - d) + TWO * (b - e)
                out[tile, 6 * y + 5, c] = FOUR * b - FIVE * e + g


@compiled
def _back(products: Floats, bias: Floats, floor: np.float32, out: Floats, first: int, count: int) -> None:
    """Tiles [tiles, 36, outputs] from number `first` on, into their cells of out [batch, height, width, outputs]."""
    _, height, width, outputs = out.shape
    down, across = -(-height // 4), -(-width // 4)
    half = np.empty((4, 6, outputs), np.float32)
    cells = np.empty((4, outputs), np.float32)
    for tile in range(count):
        number = first + tile
        picture, place = number // (down * across), number % (down * across)
        top, left = 4 * (place // across), 4 * (place % across)
        for x in range(6):
            for c in range(outputs):
                a, b, d = products[tile, x, c], products[tile, 6 + x, c], products[tile, 12 + x, c]
                e, f, g = products[tile, 18 + x, c], products[tile, 24 + x, c], products[tile, 30 + x, c]
                half[0, x, c] = a + (b + d) + (e + f)
                half[1, x, c] = (b - d) + TWO * (e - f)
                half[2, x, c] = (b + d) + FOUR * (e + f)
                half[3, x, c] = (b - d) + EIGHT * (e - f) + g
        for y in range(min(4, height - top)):
            for c in range(outputs):
                a, b, d = half[y, 0, c], half[y, 1, c], half[y, 2, c]
                e, f, g = half[y, 3, c], half[y, 4, c], half[y, 5, c]
                shift = bias[c]
                cells[0, c] = max(a + (b + d) + (e + f) + shift, floor)
                cells[1, c] = max((b - d) + TWO * (e - f) + shift, floor)
                cells[2, c] = max((b + d) + FOUR * (e + f) + shift, floor)
                cells[3, c] = max((b - d) + EIGHT * (e - f) + g + shift, floor)
            for x in range(min(4, width - left)):
                out[picture, top + y, left + x] = cells[x]
