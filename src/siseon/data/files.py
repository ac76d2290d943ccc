"""Data sets made of files: the files under a folder, what a reader found in them, and the data set kept in memory."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import numpy as np
from faster_coco_eval.core import mask as runs_code

from siseon import pictures
from siseon.data.dataset import Annotation, Problem, Segments, Task
from siseon.data.map_files import MapFile
from siseon.interface import DataError, Size

Runs: TypeAlias = "dict[str, Any]"
"""COCO's run-length code of a mask: {"size": [height, width], "counts": bytes}; some 100 bytes for 640x480."""

Shape: TypeAlias = "tuple[np.ndarray, ...] | Runs"
"""The shape of one object as it is stored: polygons, each [points, 2] (x, y), or runs."""

SPLIT_WORDS = {
    "train": "train", "training": "train", "trn": "train", "trainval": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val", "eval": "val",
    "test": "test", "testing": "test", "tst": "test",
}  # fmt: skip


def split_of(*names: str) -> str:
    """The split that the first telling name stands for ("train2017" is train, "valid" is val), or ""."""
    words = (word for name in names for word in re.split(r"[^a-z]+", name.lower()))
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), "")


def clean_name(name: str) -> str:
    """A class name without spaces around it, Hangul composed: macOS stores "가" as two letters, others as one."""
    return unicodedata.normalize("NFC", name.strip())


def text_of(path: Path) -> str:
    """The text of a file in UTF-8, UTF-16 with a mark, or CP949 (Korean Windows). Raises DataError naming the file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror})", "Check the path and the rights of the file"
        ) from error
    utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    for encoding in ("utf-16",) if utf16 else ("utf-8-sig", "cp949"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise DataError(f"{path} is not a text file", "Save it as UTF-8 text")


class Files:
    """Every file under a folder, walked once; hidden files and folders are left out.

    `chosen` is the one annotation file that the user named, if he named a file.
    """

    def __init__(self, root: Path, chosen: Path | None = None) -> None:
        self.root = root
        self.chosen = chosen
        self.by_suffix: dict[str, list[Path]] = {}
        self.pictures: list[Path] = []
        self._by_name: dict[str, list[Path]] = {}
        self._by_stem: dict[str, list[Path]] = {}
        self._folders: set[str] = set()
        seen: set[str] = set()
        for folder, subfolders, names in os.walk(root, followlinks=True):
            # Linked folders are common in data sets; a link to a folder above must not go round for ever.
            if (real := os.path.realpath(folder)) in seen:
                subfolders.clear()
                continue
            seen.add(real)
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            self._folders |= {_key(name) for name in subfolders}
            for name in sorted(name for name in names if not name.startswith(".")):
                self._file(Path(folder, name))

    def _file(self, path: Path) -> None:
        suffix = path.suffix.lower()
        self.by_suffix.setdefault(suffix, []).append(path)
        if suffix in pictures.SUFFIXES:
            self.pictures.append(path)
            self._by_name.setdefault(_key(path.name), []).append(path)
            self._by_stem.setdefault(_key(path.stem), []).append(path)

    def of(self, *suffixes: str) -> list[Path]:
        """The files with these suffixes (".xml"), in the order of their names."""
        return sorted(path for suffix in suffixes for path in self.by_suffix.get(suffix, ()))

    def parts(self, path: Path) -> tuple[str, ...]:
        """The folders between the root and `path`, outermost first."""
        return path.parent.relative_to(self.root).parts if path.is_relative_to(self.root) else ()

    def picture(self, name: str, beside: Path, split: str = "") -> Path | None:
        """The picture that the annotation file `beside` calls `name`: its file name, perhaps with folders before it.

        Of several pictures of that name the one nearest to `beside`; never one of another split. Folders that do not
        exist here (a path of another machine) are passed over.
        """
        stated = PurePosixPath(name.replace("\\", "/"))
        found = self._by_name.get(_key(stated.name), [])
        if stated.parent.name and _key(stated.parent.name) in self._folders:
            folder = _key(stated.parent.name)
            found = [path for path in found if folder in map(_key, path.parent.parts)]
        return self._nearest(found, beside, stated.parts, split)

    def picture_of(self, stem: str, beside: Path) -> Path | None:
        """The picture whose file name without its suffix is `stem`, nearest to the annotation file `beside`."""
        return self._nearest(self._by_stem.get(_key(stem), []), beside, (stem,), "")

    def _nearest(self, found: list[Path], beside: Path, stated: tuple[str, ...], split: str) -> Path | None:
        parts = self.parts(beside)
        split = split or split_of(*parts, *stated[:-1])
        found = [path for path in found if split_of(*self.parts(path)) in ("", split) or not split]
        near = {*map(_key, parts), *map(_key, stated)}

        def likeness(path: Path) -> tuple[bool, int, bool]:
            shared = len(near & {_key(part) for part in self.parts(path)})
            return path.parent == beside.parent, shared, path.name == stated[-1]

        return max(found, key=likeness, default=None)


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


class Notes:
    """Collects what is wrong in a data set. `root`: the folder against which files are named."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._problems: list[Problem] = []
        self._repeated: dict[tuple[str, str], list[str]] = {}

    def add(self, file: Path | str, what: str, done: str) -> None:
        """Note one problem."""
        self._problems.append(Problem(self.name(file), what, done))

    def once(self, file: Path | str, what: str, done: str) -> None:
        """Note a problem that many files may share: it is listed once, under the first file, with their number."""
        self._repeated.setdefault((what, done), []).append(self.name(file))

    def name(self, file: Path | str) -> str:
        """The file as it is named in problems: relative to the root where it lies under it."""
        path = Path(file)
        if path == self.root:
            return self.root.name
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(file)

    def problems(self) -> tuple[Problem, ...]:
        """All that was noted, what many files share first."""
        repeated = [
            Problem(files[0], what if len(files) == 1 else f"{what} (and {len(files) - 1} more files)", done)
            for (what, done), files in self._repeated.items()
        ]
        return (*repeated, *self._problems)


@dataclass(slots=True)
class Record:
    """What a reader found about one picture.

    source: the file that says so, for messages; split: train, val, test or "" where nothing says it; stated: the
    (height, width) that the annotation gives; boxes [objects, 4] float64 xyxy in pixels of the stated size, or in
    fractions of the upright picture where `fractions`; names: the class of each object; shapes: one per object, None
    where unknown; map: the file that holds the class of each pixel, where there is one; sentences: what is said about
    the picture.
    """

    picture: Path
    source: Path
    split: str = ""
    stated: Size | None = None
    size: Size | None = None
    fractions: bool = False
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    names: list[str] = field(default_factory=list)
    crowd: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    shapes: list[Shape | None] = field(default_factory=list)
    label: str | None = None
    map: MapFile | None = None
    sentences: list[str] = field(default_factory=list)

    def keep(self, chosen: np.ndarray) -> None:
        """Keep only the objects where `chosen` [objects] is true."""
        self.boxes, self.crowd = self.boxes[chosen], self.crowd[chosen]
        self.names = [name for name, kept in zip(self.names, chosen, strict=True) if kept]
        self.shapes = [shape for shape, kept in zip(self.shapes, chosen, strict=True) if kept]


@dataclass(frozen=True, slots=True)
class Contents:
    """What a reader found in a data set: classes in the order in which the data declares them, () where it does not."""

    task: Task
    records: list[Record]
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
    """The shapes of all objects of a data set in three arrays; masks stay run-length coded until somebody asks.

    points [points, 2]; rings [polygons + 1]: where each polygon begins; first [objects + 1]: where each object's
    polygons begin; runs: object -> its code.
    """

    points: np.ndarray
    rings: np.ndarray
    first: np.ndarray
    runs: dict[int, Runs]

    @staticmethod
    def of(shapes: Sequence[Shape]) -> Shapes:
        """Pack the shapes of all objects."""
        polygons = [() if isinstance(shape, dict) else shape for shape in shapes]
        rings = [ring.astype(np.float32) for polygon in polygons for ring in polygon]
        points = np.concatenate(rings) if rings else np.zeros((0, 2), np.float32)
        runs = {index: shape for index, shape in enumerate(shapes) if isinstance(shape, dict)}
        return Shapes(points, _starts(map(len, rings)), _starts(map(len, polygons)), runs)

    def __getitem__(self, index: int) -> Segments:
        if index in self.runs:
            return np.asarray(runs_code.decode(self.runs[index]), bool)
        return tuple(
            self.points[self.rings[ring] : self.rings[ring + 1]]
            for ring in range(self.first[index], self.first[index + 1])
        )


@dataclass(frozen=True, slots=True, eq=False)
class FileDataset:
    """One split of pictures in files: annotations in a few arrays, pictures read when asked for. Can be pickled.

    names [pictures]: paths relative to root; sizes [pictures, 2]: (height, width) upright; labels_of_pictures
    [pictures], -1 where there is none; first [pictures + 1]: where each picture's objects begin in boxes, labels,
    crowd and shapes; shaped [pictures]: whether the objects of a picture have shapes; maps: those of
    the pictures, of the task segmentation only; sentences: about each picture, in the language of the data, which
    nothing names.
    """

    root: Path
    task: Task
    classes: tuple[str, ...]
    names: tuple[str, ...]
    sizes: np.ndarray
    labels_of_pictures: np.ndarray
    first: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    shaped: np.ndarray
    shapes: Shapes
    sentences: tuple[tuple[str, ...], ...]
    maps: tuple[MapFile, ...] = ()

    @staticmethod
    def of(root: Path, task: Task, classes: tuple[str, ...], records: Sequence[Record]) -> FileDataset:
        """Pack records whose sizes are known and whose boxes are pixels of the upright picture."""
        index = {name: label for label, name in enumerate(classes)}
        shapes = [() if shape is None else shape for record in records for shape in record.shapes]
        return FileDataset(
            root=root,
            task=task,
            classes=classes,
            names=tuple(relative_name(record.picture, root) for record in records),
            sizes=np.array([record.size or (0, 0) for record in records], np.int32).reshape(-1, 2),
            labels_of_pictures=np.array([index.get(record.label or "", -1) for record in records], np.int64),
            first=_starts(len(record.boxes) for record in records),
            boxes=np.concatenate([np.zeros((0, 4)), *(record.boxes for record in records)]).astype(np.float32),
            labels=np.array([index[name] for record in records for name in record.names], np.int64),
            crowd=np.concatenate([np.zeros(0, bool), *(record.crowd for record in records)]),
            shaped=np.array([_all_known(record.shapes) for record in records], bool),
            shapes=Shapes.of(shapes),
            maps=tuple(record.map for record in records if record.map is not None),
            sentences=tuple(tuple(record.sentences) for record in records),
        )

    def __len__(self) -> int:
        return len(self.names)

    def annotation(self, index: int) -> Annotation:
        """What is known of picture `index`; only masks that are stored as runs take work."""
        index = range(len(self))[index]
        start, stop = int(self.first[index]), int(self.first[index + 1])
        label = int(self.labels_of_pictures[index])
        return Annotation(
            name=self.names[index],
            path=self.root / self.names[index],
            size=(int(self.sizes[index, 0]), int(self.sizes[index, 1])),
            boxes=self.boxes[start:stop].copy(),
            labels=self.labels[start:stop].copy(),
            crowd=self.crowd[start:stop].copy(),
            segments=tuple(self.shapes[item] for item in range(start, stop)) if self.shaped[index] else (),
            label=None if label < 0 else label,
            sentences={"": self.sentences[index]} if self.sentences[index] else {},
        )

    def picture(self, index: int) -> np.ndarray:
        """The pixels [height, width, 3] uint8 RGB, upright. Raises PictureError naming the file."""
        return pictures.read(self.root / self.names[index])

    def semantic(self, index: int) -> np.ndarray:
        """The class of each pixel, [height, width] uint8 with VOID, of the task segmentation.

        Raises PictureError naming the file.
        """
        return self.maps[index].read((int(self.sizes[index, 0]), int(self.sizes[index, 1])))


def relative_name(path: Path, root: Path) -> str:
    """`path` relative to `root` with forward slashes; as it is where there is none (another drive on Windows)."""
    try:
        return Path(os.path.relpath(path, root)).as_posix()
    except ValueError:
        return path.as_posix()


def _all_known(shapes: Sequence[Shape | None]) -> bool:
    return bool(shapes) and all(shape is not None for shape in shapes)


def _starts(lengths: Iterable[int]) -> np.ndarray:
    return np.cumsum([0, *lengths], dtype=np.int64)
