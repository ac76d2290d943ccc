"""Many small pictures as one: a grid, and an animation of grids."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from siseon import pictures, tensorfile

GAP = 2
PAPER = 255
"""The white between pictures, in pixels, and its value."""

SEEN = 480
"""About how wide small grids become, enlarged by a whole number: 28 pixels of a digit are few on today's screens."""

FRAMES = 80
"""The most grids in an animation; of more, so many at equal distances are taken."""


def grid(made: Tensor, columns: int | None = None) -> np.ndarray:
    """Pictures RGB 0..1 [count, 3, height, width], row by row, as one [height, width, 3] uint8.

    columns: as many as make a square if left out; the places left in the last row are white.
    """
    count, _, height, width = made.shape
    columns = columns or math.ceil(count**0.5)
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), PAPER, np.uint8)
    pixels = (made.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    for number, picture in enumerate(pixels):
        row, column = divmod(number, columns)
        top, left = GAP + row * (height + GAP), GAP + column * (width + GAP)
        sheet[top : top + height, left : left + width] = picture
    times = max(round(SEEN / sheet.shape[1]), 1)
    return sheet.repeat(times, axis=0).repeat(times, axis=1)


def animate(files: Sequence[Path], out: Path, *, milliseconds: int = 150) -> None:
    """Write pictures of one size, in their order, as a GIF without end; the last stands for two seconds."""
    chosen = [files[round(place)] for place in np.linspace(0, len(files) - 1, min(len(files), FRAMES))]
    frames = [Image.fromarray(pictures.read(file)).quantize(dither=Image.Dither.NONE) for file in chosen]
    whole = BytesIO()
    times = [milliseconds] * (len(frames) - 1) + [2000]
    frames[0].save(whole, "GIF", save_all=True, append_images=frames[1:], duration=times, loop=0)
    tensorfile.write_whole(out, [whole.getbuffer()])
