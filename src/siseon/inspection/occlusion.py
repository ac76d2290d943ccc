"""Occlusion (Zeiler, Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2).

Idea    Does the network look at the object or at what surrounds it? Cover a part of the picture: where the probability
        of the class drops, there it looked.
Flow    picture -> a grey square in each place in turn -> probability of the class -> a map of them
Here    arXiv:1311.2901, figure 7d. Squares stand closer than they are wide, and over the border too, so that each
        pixel lies under several; its value is the mean of the probabilities with a square over it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from siseon.inspection.class_activation import checked_label
from siseon.interface import SiseonError
from siseon.layers import inference

Box = tuple[int, int, int, int]
"""(left, top, right, bottom) in pixels."""


def occlusion(
    model: nn.Module,
    picture: Tensor,
    label: int | None = None,
    *,
    square: int | None = None,
    step: int | None = None,
    colour: float | Tensor = 0.5,
    batch: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """The probability of the class while a pixel is covered: [height, width] of the picture, 0..1.

    picture: [channels, height, width], RGB 0..1, at network size. label: the class, the one predicted if left out.
    square: side of the square in pixels, three steps if left out; step: pixels between squares, at most `square`, a
    sixteenth of the shorter side if left out; colour: of the square, 0..1, or [channels]. batch: squares at once;
    progress: called with (squares done, of). Raises SiseonError for sizes that make no sense and for a model that is
    no classifier.
    """
    height, width = picture.shape[-2:]
    step = step or max((square or 3 * min(height, width) // 16) // 3, 1)
    square = square or min(3 * step, height, width)
    if not 1 <= step <= square <= min(height, width):
        raise SiseonError(
            f"squares of {square} pixels, {step} apart, do not fit a picture of {height} x {width}",
            "The step is at most the square, and the square at most the picture",
        )
    places = squares(height, width, square=square, step=step)
    with inference(model):
        logits = model(picture[None])
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            raise SiseonError(f"{type(model).__name__} gives no class scores", "This view is for classifiers")
        label = checked_label(logits, label)
        total, times = torch.zeros(height, width), torch.zeros(height, width)
        for first in range(0, len(places), batch):
            some = places[first : first + batch]
            scores = model(torch.stack([covered(picture, place, colour) for place in some])).softmax(1)
            for (left, top, right, bottom), score in zip(some, scores[:, label].tolist(), strict=True):
                total[top:bottom, left:right] += score
                times[top:bottom, left:right] += 1
            if progress is not None:
                progress(min(first + batch, len(places)), len(places))
    return total / times


def squares(height: int, width: int, *, square: int, step: int) -> list[Box]:
    """The places of the square, row by row, cut off at the border; together they cover every pixel."""

    def sides(length: int) -> list[tuple[int, int]]:
        # centred: as much hangs over the border on the left as on the right
        count = -(-(length - square) // step) + 1 + 2 * ((square - 1) // (2 * step))
        first = (length - square - (count - 1) * step) // 2
        cut = [(max(start, 0), min(start + square, length)) for start in range(first, first + count * step, step)]
        return [(start, end) for start, end in cut if start < end]

    return [(left, top, right, bottom) for top, bottom in sides(height) for left, right in sides(width)]


def covered(picture: Tensor, place: Box, colour: float | Tensor = 0.5) -> Tensor:
    """A copy of the picture [channels, height, width] with a square of one colour on it."""
    left, top, right, bottom = place
    copy = picture.clone()
    copy[:, top:bottom, left:right] = colour if isinstance(colour, float) else colour.view(-1, 1, 1)
    return copy
