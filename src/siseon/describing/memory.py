"""What was seen a moment ago, so that a camera does not chatter: a new sentence only when the scene has changed.

Detections flicker. Hysteresis at each limit keeps the scene still: a thing comes in with a high score and stays with a
lower one, keeps its side and distance until it is well beyond the edge, and a changed scene is told only after it has
been the same for some frames.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from siseon.describing.places import Box, Thing, distance_of, overlap, side_of
from siseon.interface import Detections, Size

SAME = 0.3
"""Boxes of one class that overlap as much in two frames are the same thing."""
ONE = 0.55
"""Boxes of any classes that overlap as much in one frame are one thing, of the class with the better score."""
LOYALTY = 0.2
"""A class that the thing had before counts so much better."""
STAYS = 0.7
"""A thing that was there stays with this share of the score that it takes to come in."""

Scene = Counter[tuple[str, str]]
"""How many things of a class are on a side."""


class Memory:
    """The things of the last frame, and the scene that was told last.

    score: from which a thing comes in. steady: in how many frames on end a changed scene must be the same to be told;
    the first is told at once.
    """

    def __init__(self, *, score: float = 0.5, steady: int = 1) -> None:
        self.score, self.steady = score, steady
        self.things: tuple[Thing, ...] = ()
        self._told: Scene | None = None
        self._waiting: Scene | None = None
        self._frames = 0

    def see(self, found: Detections, size: Size) -> tuple[Thing, ...]:
        """The things in the next frame, of `size`, largest first; `things` from now on."""
        free = list(self.things)
        things: list[Thing] = []
        for name, score, box in sorted(_rows(found), key=self._worth, reverse=True):
            before = _same(free, name, box)
            if score < self.score * (STAYS if before else 1) or any(overlap(box, one.box) >= ONE for one in things):
                continue
            if before:
                free.remove(before)
            side = side_of(box, size[1], before.side if before else None)
            things.append(Thing(name, score, box, side, distance_of(box, size, before.distance if before else None)))
        self.things = tuple(sorted(things, key=_area, reverse=True))
        return self.things

    def _worth(self, row: tuple[str, float, Box]) -> float:
        name, score, box = row
        return score + LOYALTY * (_same(self.things, name, box) is not None)

    def changed(self) -> bool:
        """Whether the scene is to be told: it is another than the one told last, and steady. It then counts as told."""
        scene: Scene = Counter((thing.name, thing.side) for thing in self.things)
        if scene == self._told:
            self._waiting = None
            return False
        self._frames = self._frames + 1 if scene == self._waiting else 1
        self._waiting = scene
        if self._told is not None and self._frames < self.steady:
            return False
        self._told, self._waiting = scene, None
        return True


def _rows(found: Detections) -> list[tuple[str, float, Box]]:
    boxes: list[Box] = [(left, top, right, bottom) for left, top, right, bottom in found.boxes.tolist()]
    return list(zip(found.names, found.scores.tolist(), boxes, strict=True))


def _same(things: Sequence[Thing], name: str, box: Box) -> Thing | None:
    alike = [thing for thing in things if thing.name == name and overlap(thing.box, box) >= SAME]
    return max(alike, key=lambda thing: overlap(thing.box, box), default=None)


def _area(thing: Thing) -> float:
    left, top, right, bottom = thing.box
    return (right - left) * (bottom - top)
