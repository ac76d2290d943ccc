"""From what an annotation file says to what is true of the picture: size, EXIF turn, boxes that stick out.

Boxes and shapes end as pixels of the upright picture, because that is what `pictures.read` gives. An annotation that
states the size of the picture tells in which frame its numbers are:
- the upright size, or none: they are used as they are. Tools of today show photos upright.
- the size of the stored, unturned pixels: boxes and shapes are turned with the picture.
- neither: the pictures were resized after they were labelled. Over all such files of the data set, either the boxes
  lie inside the pictures as they are (they were resized too, only the stated size is stale) and are used as they are,
  or they fit the stated sizes better and are scaled.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from faster_coco_eval.core import mask as runs_code
from PIL import Image

from siseon import pictures
from siseon.data.files import Notes, Record, Runs, Shape
from siseon.interface import PictureError, Size

SLACK = 0.5
"""Pixels by which a box may stick out without a word: annotation tools round."""


@dataclass(frozen=True, slots=True)
class Move:
    """How coordinates and masks of the annotation go to the upright picture."""

    points: Callable[[np.ndarray], np.ndarray]
    mask: Callable[[np.ndarray], np.ndarray]


def mend(records: Sequence[Record], notes: Notes) -> list[Record]:
    """The records whose pictures exist, with their true size and with boxes and shapes in the upright picture.

    Objects without an area in the picture and numbers that are no numbers are dropped. Whatever is changed is noted.
    """
    seen: set[tuple[str, str]] = set()
    measured = []
    for record in records:
        place = (record.split, str(record.picture))
        if place in seen:
            notes.add(record.source, f"{notes.name(record.picture)} is annotated twice", "only the first is used")
            continue
        seen.add(place)
        orientation = _measure(record, notes)
        if orientation:
            measured.append((record, orientation))
    scale = _stated_sizes_hold(measured)
    for record, orientation in measured:
        _drop(record, np.isfinite(record.boxes).all(1), "has a coordinate that is not a number", notes)
        _drop(record, np.asarray((record.boxes[:, 2:] > record.boxes[:, :2]).all(1)), "has no area", notes)
        _move(record, orientation, scale, notes)
        _clip(record, notes)
    return [record for record, _ in measured]


def _measure(record: Record, notes: Notes) -> int:
    """Set the true size of the picture; its EXIF orientation, 0 where it cannot be used."""
    try:
        record.size, turned = pictures.size_and_turn(record.picture)
        return orientation_of(record.picture) if turned else 1
    except PictureError as error:
        notes.add(record.picture, error.problem.removeprefix(f"{record.picture}: "), "left out")
        return 0


def orientation_of(picture: Path) -> int:
    """EXIF's 1..8: 1 upright, 2-4 mirrored or upside down, 5-8 with height and width exchanged."""
    with warnings.catch_warnings():
        # Pillow warns of odd metadata, on which the user cannot act.
        warnings.simplefilter("ignore")
        with Image.open(picture) as image:
            return int(image.getexif().get(pictures.ORIENTATION, 1))


def _frame(record: Record, orientation: int) -> str:
    """What the numbers of the record are relative to: the upright picture, the raw pixels, or the stated size."""
    if record.stated in (None, record.size):
        return "upright"
    height, width = record.size or (0, 0)
    return "raw" if orientation >= 5 and record.stated == (width, height) else "stated"


def _stated_sizes_hold(measured: Sequence[tuple[Record, int]]) -> bool:
    """Whether boxes of pictures whose stated size is wrong fit the stated sizes better than the pictures."""
    wrong = [record for record, turn in measured if len(record.boxes) and _frame(record, turn) == "stated"]
    return sum(_fits(record, record.stated) for record in wrong) > sum(_fits(record, record.size) for record in wrong)


def _fits(record: Record, size: Size | None) -> int:
    height, width = size or (0, 0)
    return int((record.boxes[:, 2:] <= np.array([width, height]) + SLACK).all(1).sum())


def _move(record: Record, orientation: int, scale: bool, notes: Notes) -> None:
    """Bring boxes and shapes of a record into its upright picture."""
    frame = _frame(record, orientation)
    height, width = record.size or (0, 0)
    if record.fractions:
        _apply(record, Move(lambda points: points * (width, height), lambda mask: mask))
    elif frame == "raw":
        what = "states the size of the picture before its EXIF turn"
        notes.once(record.source, what, "boxes are turned with the picture")
        stored = (width, height)
        _apply(record, Move(lambda p: turn_points(p, stored, orientation), lambda m: turn_mask(m, orientation)))
    elif frame == "stated":
        stated = record.stated or (1, 1)
        ratio = (width / stated[1], height / stated[0])
        notes.once(
            record.source,
            "states a size that is not the size of the picture",
            "boxes are scaled to the picture" if scale else "boxes lie inside the picture and are used as they are",
        )
        if scale:
            _apply(record, Move(lambda p: p * ratio, lambda m: _resized(m, (height, width))))
    if frame == "upright" and 2 <= orientation <= 4 and len(record.boxes):
        notes.once(
            record.picture,
            "is turned by EXIF in a way that its size does not show",
            "boxes are taken as drawn on the upright picture",
        )


def _apply(record: Record, move: Move) -> None:
    corners = move.points(record.boxes.reshape(-1, 2)).reshape(-1, 2, 2)
    record.boxes = np.concatenate([corners.min(1), corners.max(1)], 1)
    record.shapes = [_moved(shape, move) for shape in record.shapes]


def _moved(shape: Shape | None, move: Move) -> Shape | None:
    if isinstance(shape, dict):
        return encode(move.mask(np.asarray(runs_code.decode(shape), bool)))
    return None if shape is None else tuple(move.points(ring) for ring in shape)


def _clip(record: Record, notes: Notes) -> None:
    """Clip boxes and polygons to the picture; drop what lies outside, and shapes where not every object has one."""
    size = record.size or (0, 0)
    edge = np.array([size[1], size[0]], float)
    clipped = np.clip(record.boxes.reshape(-1, 2), 0, edge).reshape(-1, 4)
    inside = (clipped[:, 2:].astype(np.float32) > clipped[:, :2].astype(np.float32)).all(1)
    beyond = (np.abs(clipped - record.boxes) > SLACK).any(1) & inside
    for name, box in zip(np.array(record.names, object)[beyond], record.boxes[beyond], strict=True):
        what = f"the box of '{name}' {_numbers(box)} sticks out of {notes.name(record.picture)} ({size[1]}x{size[0]})"
        notes.add(record.source, what, "clipped")
    _drop(record, inside, f"lies outside {notes.name(record.picture)} ({size[1]}x{size[0]})", notes)
    record.boxes = clipped[inside]
    record.shapes = [_clipped(shape, edge) for shape in record.shapes]
    known = [shape is not None for shape in record.shapes]
    if any(known) and not all(known):
        notes.once(record.source, "some objects have a shape and others have none", "only the boxes are used")
        record.shapes = [None] * len(known)


def _clipped(shape: Shape | None, edge: np.ndarray) -> Shape | None:
    if isinstance(shape, dict):
        return shape if tuple(shape["size"]) == (int(edge[1]), int(edge[0])) else None
    if not shape or not all(np.isfinite(ring).all() for ring in shape):
        return None
    return tuple(np.clip(ring, 0, edge) for ring in shape)


def _drop(record: Record, sound: np.ndarray, what: str, notes: Notes) -> None:
    if sound.all():
        return
    for name, box in zip(np.array(record.names, object)[~sound], record.boxes[~sound], strict=True):
        notes.add(record.source, f"the box of '{name}' {_numbers(box)} {what}", "left out")
    record.keep(sound)


def _numbers(box: np.ndarray) -> str:
    return "(" + ", ".join(f"{edge:g}" for edge in box) + ")"


def turn_points(points: np.ndarray, stored: Size, orientation: int) -> np.ndarray:
    """Points [points, 2] (x, y) of the stored pixels (height, width) where they are once the picture is upright.

    orientation is EXIF's, 1..8 (JEITA CP-3451, tag 274).
    """
    height, width = stored
    x, y = points[:, 0], points[:, 1]
    right, below = width - x, height - y
    table = [(x, y), (right, y), (right, below), (x, below), (y, x), (below, x), (below, right), (y, right)]
    return np.stack(table[orientation - 1], 1)


def turn_mask(mask: np.ndarray, orientation: int) -> np.ndarray:
    """A mask [height, width] of the stored pixels turned upright; orientation as in `turn_points`."""
    mirrored, upside = mask[:, ::-1], mask[::-1]
    table = [mask, mirrored, mask[::-1, ::-1], upside, mask.T, upside.T, mask[::-1, ::-1].T, mirrored.T]
    return table[orientation - 1]


def encode(mask: np.ndarray) -> Runs:
    """COCO's run-length code of a bool mask [height, width]."""
    runs: Runs = runs_code.encode(np.asfortranarray(mask, np.uint8))
    return runs


def _resized(mask: np.ndarray, size: Size) -> np.ndarray:
    return cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST).astype(bool)
