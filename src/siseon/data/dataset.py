"""What a data set is: annotated pictures of three splits, the names of the classes, and what was found wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np

from siseon.interface import DataError, Size

Task: TypeAlias = Literal["classification", "detection", "segmentation", "captioning"]
Segments: TypeAlias = "tuple[np.ndarray, ...] | np.ndarray"
"""The shape of one object: polygons, each [points, 2] (x, y) in pixels, or a bool mask [height, width]."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a data set: the file, what, and what was done about it."""

    file: str
    what: str
    done: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}; {self.done}"


@dataclass(frozen=True, slots=True)
class Annotation:
    """What is known of one picture before it is decoded. Coordinates are pixels of the upright picture (EXIF applied).

    name is unique in its data set (a relative path, or scenes/train/000012); boxes [objects, 4] float32 xyxy; labels
    [objects] int64; crowd [objects] bool; segments: one per object, or empty; label: the class of the whole picture;
    semantic: the class of each pixel, [height, width] uint8 with VOID, once somebody asked for it; sentences: language
    -> sentences about it; tokens: the sentences to learn, as labels of their words (captioning).
    """

    name: str
    path: Path | None = None
    size: Size | None = None
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    crowd: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    segments: tuple[Segments, ...] = ()
    label: int | None = None
    semantic: np.ndarray | None = None
    sentences: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tokens: tuple[tuple[int, ...], ...] = ()


class Dataset(Protocol):
    """One split: a sequence of pictures and annotations that can be sent to a worker process."""

    @property
    def task(self) -> Task:
        """What the annotations are for."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names that labels index."""

    def __len__(self) -> int: ...

    def annotation(self, index: int) -> Annotation:
        """What is known of picture `index`, without decoding it where that is possible."""

    def picture(self, index: int) -> np.ndarray:
        """The pixels [height, width, 3] uint8 RGB, upright. Raises PictureError naming the file."""


@runtime_checkable
class Maps(Protocol):
    """What a data set of the task segmentation has beside."""

    def semantic(self, index: int) -> np.ndarray:
        """The class of each pixel of picture `index`, [height, width] uint8, VOID where nobody knows.

        Raises PictureError or DataError naming the file.
        """


@dataclass(frozen=True)
class Data:
    """A data set as `open_data` gives it: up to three splits with the same classes, and the problems found.

    source: what opens it again from any folder, a whole path or a built-in name; empty where nothing does.
    """

    name: str
    task: Task
    classes: tuple[str, ...]
    splits: Mapping[str, Dataset]
    problems: Sequence[Problem] = ()
    source: str = ""

    @property
    def train(self) -> Dataset:
        """The pictures to learn from. Raises DataError where there are none."""
        return self.split("train")

    @property
    def val(self) -> Dataset:
        """The pictures that choose the best epoch: val, else test. Raises DataError where there are neither."""
        return self.split("val", "test")

    @property
    def test(self) -> Dataset:
        """The pictures kept for the last word: test, else val. Raises DataError where there are neither."""
        return self.split("test", "val")

    def split(self, *names: str) -> Dataset:
        """The first of the splits `names` that there is. Raises DataError where there is none of them."""
        for name in names:
            if name in self.splits:
                return self.splits[name]
        has = ", ".join(self.splits)
        raise DataError(
            f"{self.name} has no {' or '.join(names)} pictures, only {has}", "Take another split or data set"
        )

    def __iter__(self) -> Iterator[tuple[str, Dataset]]:
        return iter(self.splits.items())
