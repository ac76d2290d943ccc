"""Files that hold the class of each pixel of a picture, whatever way they write it: indices, palettes, colours."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from siseon.interface import VOID, PictureError, Size

Packed = int
"""A colour as one number: red + 256 green + 65536 blue, as COCO's panoptic PNG counts."""


@dataclass(frozen=True, slots=True)
class MapFile:
    """One picture file whose pixels say classes. Values without a label are VOID.

    labels: value of a pixel -> class; the value is the index that is stored, or, where `coloured`, the packed colour.
    turn: the EXIF orientation (1..8) of the picture that it belongs to, where it was drawn before that turn.
    """

    path: Path
    labels: Mapping[int, int]
    coloured: bool = False
    turn: int = 1

    def read(self, size: Size) -> np.ndarray:
        """The classes [height, width] uint8; a map of another size is scaled to (height, width), nearest pixel.

        Raises PictureError naming the file.
        """
        from siseon.data.mending import turn_mask  # here, because it builds on this file

        classes = relabelled(values(self.path, coloured=self.coloured), self.labels)
        classes = np.ascontiguousarray(turn_mask(classes, self.turn))
        if classes.shape != size:
            classes = cv2.resize(classes, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        return classes


def relabelled(pixels: np.ndarray, labels: Mapping[int, int]) -> np.ndarray:
    """The labels [height, width] uint8 of whole numbers [height, width]; VOID for numbers that have none."""
    if pixels.dtype == np.uint8:
        table = np.full(256, VOID, np.uint8)
        for value, label in labels.items():
            if 0 <= value < 256:
                table[value] = label
        return table[pixels]
    known = np.array(sorted(labels), np.int64)
    if not len(known):
        return np.full(pixels.shape, VOID, np.uint8)
    places = np.searchsorted(known, pixels).clip(max=len(known) - 1)
    found = np.array([labels[value] for value in known.tolist()], np.uint8)[places]
    return np.where(known[places] == pixels, found, np.uint8(VOID))


def values(path: Path, *, coloured: bool) -> np.ndarray:
    """The numbers in a file's pixels, [height, width]: packed colours, or the indices as they are stored.

    Raises PictureError naming the file.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB") if coloured else image)
    except Exception as error:  # damaged files make Pillow raise almost anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PictureError(f"{path}: the map of classes cannot be read ({reason})", "Make it again") from error
    if coloured:
        return pixels.astype(np.int64) @ np.array([1, 256, 65536])
    if pixels.ndim == 3:
        pixels = pixels[..., 0]
    return pixels if pixels.dtype == np.uint8 else pixels.astype(np.int64)


def numbers_in(path: Path, *, coloured: bool) -> set[int]:
    """The different numbers in a file's pixels; of more than 1,000 colours only some. Raises as `values`."""
    pixels = values(path, coloured=coloured)
    if pixels.dtype == np.uint8:
        return set(np.flatnonzero(np.bincount(pixels.ravel(), minlength=256)).tolist())
    found: set[int] = set()
    for row in pixels:
        found |= set(row.tolist())
        if len(found) > 1000:
            break
    return found


def mode_and_size(path: Path) -> tuple[str, Size]:
    """Pillow's mode and the (height, width) of a file; only the header is read. Raises PictureError naming it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                return image.mode, (image.height, image.width)
    except Exception as error:
        raise PictureError(f"{path}: is no picture that can be read ({error})", "Make it again") from error


def packed(red: int, green: int, blue: int) -> Packed:
    """A colour as one number."""
    return red + 256 * green + 65536 * blue
