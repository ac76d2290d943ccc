"""Where the labels of boxes lie on a picture, so that they hide little of the objects and of each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from siseon.interface import Size

LATER: Final = 0.05
"""What it costs that a place is one farther from the best for the eye: as much as to hide so much of an object."""
ON_LABELS: Final = 3.0
"""How many times worse it is to hide a label than an object."""


class Rectangle(NamedTuple):
    """Pixels left <= x < right, top <= y < bottom."""

    left: int
    top: int
    right: int
    bottom: int

    def shared(self, other: Rectangle) -> int:
        """The number of pixels that both have."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0) * max(height, 0)


class Label(NamedTuple):
    """Where a label lies, and what it hides: the shares of the objects and, ON_LABELS times, of labels, added up."""

    place: Rectangle
    hides: float


def labelled(
    boxes: Sequence[Rectangle], rooms: Sequence[tuple[int, int]], size: Size, *, most: float = math.inf
) -> dict[int, Label]:
    """The label of each box, given its (width, height), by the number of the box; the first choose first.

    Those that would hide more than `most` are left out.
    Of a box that is larger than its label, only what another label hides counts: its own belongs to it.
    """
    objects = np.array(boxes, np.int64).reshape(-1, 4)
    found: dict[int, Label] = {}
    for number, (box, room) in enumerate(zip(boxes, rooms, strict=True)):
        candidates = places(box, room, size)
        own = room[0] * room[1] < (box.right - box.left) * (box.bottom - box.top)
        others = np.delete(objects, number, axis=0) if own else objects
        taken = np.array([label.place for label in found.values()], np.int64).reshape(-1, 4)
        spots = np.array(candidates, np.int64)
        hides = _hidden(spots, others) + ON_LABELS * _hidden(spots, taken)
        best = int((hides + LATER * np.arange(len(spots))).argmin())
        if hides[best] <= most:
            found[number] = Label(candidates[best], float(hides[best]))
    return found


def places(box: Rectangle, room: tuple[int, int], size: Size) -> list[Rectangle]:
    """Where one label may lie, best first: over its box, in it, under it, beside it; always on the picture."""
    width, height = room
    lefts = box.left, box.right - width
    tops = [box.top - height, box.top, box.bottom, box.bottom - height]
    corners = [(left, top) for top in tops for left in lefts]
    corners += [(left, top) for left in (box.right, box.left - width) for top in (box.top, box.bottom - height)]
    fitting = [(left, top) for left, top in corners if 0 <= top <= size[0] - height]
    found = []
    for left, top in fitting or [(box.left, 0)]:
        left = min(max(left, 0), max(size[1] - width, 0))
        found.append(Rectangle(left, top, left + width, top + height))
    return list(dict.fromkeys(found))


def _hidden(spots: np.ndarray, things: np.ndarray) -> np.ndarray:
    """For each spot [spots, 4], the sum of the shares of all things [things, 4] that lie under it: float [spots]."""
    least = np.maximum(spots[:, None, :2], things[None, :, :2])
    most = np.minimum(spots[:, None, 2:], things[None, :, 2:])
    areas = (things[:, 2:] - things[:, :2]).prod(axis=1).clip(min=1)
    return np.asarray(((most - least).clip(min=0).prod(axis=2) / areas).sum(axis=1), np.float64)
