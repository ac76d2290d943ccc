"""Where things are, seen from the camera: left, ahead or right by the middle of a box, near or far by its size.

A single picture knows no metres: near means that a box covers much of the picture, far that it covers little. What is
small by nature (a cup) is therefore near only when it is held up, and a lorry is far only from further away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from siseon.interface import Size

Side: TypeAlias = Literal["left", "ahead", "right"]
Distance: TypeAlias = Literal["near", "", "far"]
Box: TypeAlias = tuple[float, float, float, float]

EDGES = (0.36, 0.64)
"""Shares of the width at which left ends and right begins."""
SIZES = (0.01, 0.25)
"""Shares of the picture's area below which a box is far, and from which it is near."""
SLACK = 0.04
"""A thing keeps its side until its middle has gone so far beyond an edge, as a share of the width."""
STRETCH = 1.4
"""A thing keeps its distance until its area has gone so many times beyond a size."""


@dataclass(frozen=True, slots=True)
class Thing:
    """An object as it is spoken of: its class, score, box in pixels, side and distance."""

    name: str
    score: float
    box: Box
    side: Side
    distance: Distance


def side_of(box: Box, width: int, before: Side | None = None) -> Side:
    """The side of a box in a picture `width` pixels wide; near an edge the side that it had before."""
    middle = (box[0] + box[2]) / 2 / width
    left, right = EDGES
    if before == "left":
        left += SLACK
    elif before == "right":
        right -= SLACK
    elif before == "ahead":
        left, right = left - SLACK, right + SLACK
    return "left" if middle < left else "right" if middle > right else "ahead"


def distance_of(box: Box, size: Size, before: Distance | None = None) -> Distance:
    """The distance of a box in a picture of `size`; near a limit the distance that it had before."""
    share = (box[2] - box[0]) * (box[3] - box[1]) / (size[0] * size[1])
    small, large = SIZES
    if before == "near":
        large /= STRETCH
    elif before == "far":
        small *= STRETCH
    elif before == "":
        small, large = small / STRETCH, large * STRETCH
    return "far" if share < small else "near" if share >= large else ""


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, 0..1."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0.0) * max(height, 0.0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return common / (areas - common) if areas > common else 0.0
