"""Frames to describe: the pictures of a photo, a folder or a pattern in their order, or a camera's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from siseon import pictures
from siseon.interface import PictureError


def from_files(words: tuple[str, ...], on_fault: Callable[[PictureError], None]) -> Iterator[tuple[str, np.ndarray]]:
    """(name, pixels [height, width, 3] uint8) of each picture; one that cannot be read is told and passed over."""
    for path in pictures.find(list(words)):
        try:
            yield str(path), pictures.read(path)
        except PictureError as fault:
            on_fault(fault)


def from_camera(number: int) -> Iterator[tuple[str, np.ndarray]]:
    """The frames of a camera, always the newest, until it ends. Raises PictureError where it gives none."""
    camera = cv2.VideoCapture(number)
    try:
        camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # else one describes what was there some frames ago
        count = 0
        while camera.isOpened():
            there, frame = camera.read()
            if not there:
                break
            count += 1
            yield f"camera {number}, frame {count}", cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        if not count:
            raise PictureError(
                f"camera {number} gives no picture", "Plug it in, close other programs, or try --camera 1"
            )
    finally:
        camera.release()


def is_one_picture(words: tuple[str, ...]) -> bool:
    """Whether a single file is named."""
    return len(words) == 1 and Path(words[0]).is_file()
