"""Maps, filters and heat as pictures, and plates of them: rows of pictures under headings, each over its caption."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from siseon import drawing

DPI: Final = 100
MARGIN: Final = 18
GAP: Final = 10
TITLE: Final = 34
HEADING: Final = 30
CAPTION: Final = 19
"""Heights of texts and distances, in pixels."""
FONTS: Final = ["DejaVu Sans", "NanumSquare"]
"""In this order: in small letters the point of NanumSquare looks like a comma."""


class Row(NamedTuple):
    """Pictures [height, width, 3] uint8 side by side, each with a caption below, and a heading above."""

    heading: str
    tiles: Sequence[np.ndarray]
    captions: Sequence[str]


def plate(rows: Sequence[Row], path: Path, *, title: str = "", columns: int = 8) -> None:
    """Write rows of pictures as one PNG; a row of more than `columns` pictures is broken."""
    from matplotlib.figure import Figure

    drawing.use_hangul_in_plots()
    lines = [
        Row(row.heading if not first else "", row.tiles[first : first + columns], row.captions[first : first + columns])
        for row in rows
        for first in range(0, len(row.tiles), columns)
    ]
    heights = [_height(line) for line in lines]
    width = max(sum(tile.shape[1] + GAP for tile in line.tiles) - GAP for line in lines) + 2 * MARGIN
    width = max(width, 560)
    height = sum(heights) + 2 * MARGIN + (TITLE if title else 0) - GAP
    canvas = np.full((height, width, 3), drawing.PAPER, np.uint8)
    texts: list[tuple[int, int, str, int]] = []
    top = MARGIN
    if title:
        texts.append((MARGIN, top + 20, title, 17))
        top += TITLE
    for line, room in zip(lines, heights, strict=True):
        _place(line, top, canvas, texts)
        top += room
    figure = Figure((width / DPI, height / DPI), dpi=DPI)
    figure.figimage(canvas)
    for left, base, words, size in texts:
        colour = [part / 255 for part in drawing.PENCIL]
        place = left / width, 1 - base / height
        words = words.replace("$", r"\$")
        figure.text(*place, words, fontsize=size * 72 / DPI, color=colour, va="baseline", family=FONTS)
    figure.savefig(path, dpi=DPI)


def _height(line: Row) -> int:
    captions = max((caption.count("\n") + 1 for caption in line.captions if caption), default=0)
    return (HEADING if line.heading else 0) + max(len(tile) for tile in line.tiles) + CAPTION * captions + GAP


def _place(line: Row, top: int, canvas: np.ndarray, texts: list[tuple[int, int, str, int]]) -> None:
    """Put a line of pictures onto the canvas, and its words with their places (left, base, words, size) into texts."""
    if line.heading:
        texts.append((MARGIN, top + 19, line.heading, 14))
        top += HEADING
    tallest, left = max(len(tile) for tile in line.tiles), MARGIN
    for tile, caption in zip(line.tiles, line.captions, strict=True):
        canvas[top : top + len(tile), left : left + tile.shape[1]] = tile
        for number, words in enumerate(caption.split("\n") if caption else ()):
            texts.append((left, top + tallest + 14 + CAPTION * number, words, 12))
        left += tile.shape[1] + GAP


def pixels(picture: Tensor) -> np.ndarray:
    """A picture [3, height, width] of 0..1 as [height, width, 3] uint8."""
    grey = picture.expand(3, -1, -1) if len(picture) == 1 else picture
    return (grey.detach().cpu().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def resized(picture: np.ndarray, side: int, *, smooth: bool = True) -> np.ndarray:
    """A picture scaled until its longer side is `side`; smooth: as a photo is, otherwise every value stays a square.

    Values stay squares too where a picture grows by more than four times: a smooth one would show what is not there.
    """
    scale = side / max(picture.shape[:2])
    height, width = (max(round(length * scale), 1) for length in picture.shape[:2])
    kind = cv2.INTER_AREA if scale <= 1 else cv2.INTER_CUBIC if smooth and scale <= 4 else cv2.INTER_NEAREST
    scaled: np.ndarray = cv2.resize(picture, (width, height), interpolation=kind)
    return scaled


def map_picture(values: Tensor, side: int) -> np.ndarray:
    """A map [rows, columns] from its least value (dark) to its largest (bright)."""
    low, high = float(values.min()), float(values.max())
    shares = (values - low) / (high - low) if high > low else torch.zeros_like(values)
    return resized(coloured(shares, "viridis"), side, smooth=False)


def coloured(shares: Tensor, scale: str) -> np.ndarray:
    """Values 0..1 [rows, columns] in the colours of one of matplotlib's scales."""
    import matplotlib

    colours: np.ndarray = matplotlib.colormaps[scale](shares.detach().cpu().numpy(), bytes=True)
    return colours[..., :3].copy()


def signed_picture(values: Tensor) -> np.ndarray:
    """Pixels [channels, rows, columns] of either sign: 0 is middle grey, the largest is full."""
    largest = values.abs().max()
    return pixels(0.5 + 0.5 * values / largest if largest > 0 else torch.full_like(values, 0.5))


def pair(left: np.ndarray, right: np.ndarray, side: int) -> np.ndarray:
    """Two pictures of one size beside each other, each scaled to a square of `side`."""
    canvas = np.full((side, 2 * side + 3, 3), drawing.PAPER, np.uint8)
    for start, picture in ((0, resized(left, side)), (side + 3, resized(right, side))):
        canvas[: len(picture), start : start + picture.shape[1]] = picture
    return canvas


def overlay(picture: np.ndarray, heat: Tensor) -> np.ndarray:
    """The picture, paler, with heat 0..1 [height, width] laid over it, the stronger the less of the picture is seen."""
    share = (0.8 * heat.clamp(0, 1))[..., None].cpu().numpy()
    pale = 0.5 * picture + 0.5 * picture.mean(2, keepdims=True)
    return ((1 - share) * pale + share * coloured(heat.clamp(0, 1), "turbo")).round().astype(np.uint8)
