"""Boxes of the same object through the frames of a video, so that no frame between two detections is left without.

Idea    A box goes on a track if it overlaps the track's last box, both enlarged by half, most overlap first. The whole
        video is known, so a track that was lost and found again is filled in a straight line, and each goes on before
        its first frame and after its last, where it was and where it would be: an object is seldom detected in the
        frame in which it appears.
Here    A tracker for hiding, not for counting: two objects that swap tracks, or one on two, still are all covered.
        A filled box grows with its distance from the nearest detection, for objects do not move in straight lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

LEAST_OVERLAP = 0.1
"""Of the enlarged boxes; small faces of a walking person hardly overlap from frame to frame."""
SPAN = 4
"""Over how many detections the speed of an object is measured, with which it comes and goes."""
GROWTH, MOST_GROWTH = 0.03, 0.5
"""How much larger a filled box is for each frame since the nearest detection, and at most, as shares of its sides."""


@dataclass
class Track:
    """The detections of one object: frame numbers, rising, and a box (left, top, right, bottom) of each."""

    frames: list[int] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)

    def filled(self, *, hold: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The frames [n] from the first to the last and `hold` more on each side, and a box [n, 4] of each."""
        known = np.array(self.frames)
        frames = np.arange(max(known[0] - hold, 0), min(known[-1] + hold, count - 1) + 1)
        stacked = np.stack(self.boxes)
        boxes = np.stack([np.interp(frames, known, stacked[:, edge]) for edge in range(4)], 1)
        boxes = _both(boxes, boxes + self._drift(frames, known))
        distance = np.abs(frames[:, None] - known).min(1)
        return frames, enlarged(boxes, np.minimum(GROWTH * distance, MOST_GROWTH)[:, None])

    def _drift(self, frames: np.ndarray, known: np.ndarray) -> np.ndarray:
        """How far the object has gone on, [n, 4], in the frames before its first detection and after its last."""
        drift = np.zeros((len(frames), 4))
        if len(known) < 2:
            return drift
        for end, other in ((0, min(SPAN, len(known) - 1)), (-1, -1 - min(SPAN, len(known) - 1))):
            speed = (self.boxes[end] - self.boxes[other]) / (known[end] - known[other])
            beyond = frames < known[0] if end == 0 else frames > known[-1]
            drift[beyond] = (frames[beyond] - known[end])[:, None] * speed
        return drift


def tracks_of(detections: Sequence[np.ndarray], *, gap: int) -> list[Track]:
    """The tracks through the boxes [objects, 4] of each frame; one ends after more than `gap` frames without a box."""
    done: list[Track] = []
    alive: list[Track] = []
    for number, boxes in enumerate(detections):
        done += [track for track in alive if number - track.frames[-1] > gap + 1]
        alive = [track for track in alive if number - track.frames[-1] <= gap + 1]
        left = dict(enumerate(np.asarray(boxes, float).reshape(-1, 4)))
        for row, box in _pairs(alive, left):
            alive[row].frames.append(number)
            alive[row].boxes.append(left.pop(box))
        alive += [Track([number], [box]) for box in left.values()]
    return done + alive


def steady(detections: Sequence[np.ndarray], *, gap: int, hold: int) -> list[np.ndarray]:
    """The boxes [objects, 4] to hide in each frame: those detected, and those that the tracks add.

    gap: the most frames in a row that are filled between two detections; hold: frames before the first detection of an
    object and after its last.
    """
    boxes: list[list[np.ndarray]] = [[] for _ in detections]
    for track in tracks_of(detections, gap=gap):
        for frame, box in zip(*track.filled(hold=hold, count=len(detections)), strict=True):
            boxes[frame].append(box)
    return [np.array(each).reshape(-1, 4) for each in boxes]


def enlarged(boxes: np.ndarray, share: float | np.ndarray) -> np.ndarray:
    """Boxes [objects, 4] with `share` of their width and height added on each side."""
    sides = np.concatenate((boxes[:, 2:] - boxes[:, :2],) * 2, 1)
    return boxes + sides * share * (-1, -1, 1, 1)


def _both(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The least boxes that hold each pair."""
    return np.concatenate((np.minimum(boxes, others)[:, :2], np.maximum(boxes, others)[:, 2:]), 1)


def _pairs(tracks: Sequence[Track], boxes: dict[int, np.ndarray]) -> list[tuple[int, int]]:
    """(track, box) of those that overlap enough, most overlap first, each in one pair."""
    if not tracks or not boxes:
        return []
    last = enlarged(np.stack([track.boxes[-1] for track in tracks]), 0.5)
    now = enlarged(np.stack(list(boxes.values())), 0.5)
    common = (np.minimum(last[:, None, 2:], now[:, 2:]) - np.maximum(last[:, None, :2], now[:, :2])).clip(0).prod(2)
    areas = [(each[:, 2:] - each[:, :2]).prod(1) for each in (last, now)]
    overlap = common / np.maximum(areas[0][:, None] + areas[1] - common, 1e-9)
    names = list(boxes)
    found: dict[int, int] = {}
    for place in np.argsort(-overlap, axis=None, kind="stable"):
        row, column = divmod(int(place), len(names))
        if overlap[row, column] < LEAST_OVERLAP:
            break
        if row not in found and names[column] not in found.values():
            found[row] = names[column]
    return list(found.items())
