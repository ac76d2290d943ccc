"""`convert`: any data set written in another format, to be read by `open_data`.

Boxes as Pascal VOC, COCO JSON or YOLO text, classes of pictures as folders, maps of classes as indices, as colours or
as panoptic COCO.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias, cast, get_args

import cv2
import numpy as np

from siseon import pictures
from siseon.data import coco, map_writers, voc, yolo
from siseon.data.dataset import Annotation, Data, Dataset, Maps, Problem, Segments
from siseon.data.files import Notes
from siseon.data.writer import Writer
from siseon.interface import DataError, PictureError, Size

Format: TypeAlias = Literal["voc", "coco", "yolo", "folder", "masks", "colours", "panoptic"]

MAPS: tuple[Format, ...] = ("masks", "colours", "panoptic")
"""The formats of maps of classes."""

JPEG = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo")

NO_FOLDER_NAME = set('/\\:*?"<>|')
"""Signs that a folder name cannot have on one system or another."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What `convert` wrote: the folder, how many pictures and objects, and what the new format could not take.

    Of maps the objects are the areas of one class in a picture.
    """

    path: Path
    pictures: int
    objects: int
    problems: tuple[Problem, ...]
    unit: Literal["objects", "areas"] = "objects"

    def __str__(self) -> str:
        return "\n".join([f"{self.pictures} pictures, {self.objects} {self.unit}", *map(str, self.problems)])


def convert(
    data: Data, format: Format, out: str | Path, on_progress: Callable[[int, int], None] | None = None
) -> Conversion:
    """Write a data set in another format into the new folder `out`, which appears when all of it is written.

    Pictures in files are copied byte for byte; those that EXIF turns are written upright (JPEG as JPEG, others as
    PNG), and drawn ones as PNG. Class names are kept, never numbers. on_progress(done, total) is called after each
    picture.

    Shapes: COCO keeps them, masks as run-length codes; YOLO gets polygons where every object has a shape, else boxes;
    VOC keeps boxes only. YOLO has no crowd, so those objects are left out. `folder` is for classification only, those
    of MAPS for segmentation, the others for detection only. Raises DataError where format and task do not go together,
    and where `out` is there and not empty.
    """
    out = Path(out).expanduser().absolute()
    _check(data, format, out)
    # Not named after the folder: a long Hangul name leaves no room for an ending (255 bytes).
    partial = out.parent / f".{uuid.uuid4().hex}.part"
    notes = Notes(partial)
    try:
        partial.mkdir(parents=True)
        survey = _survey(data)
        writer = _WRITERS[format](partial, data, notes, survey.shaped)
        count = _write(data, writer, survey.stems, notes, on_progress)
        writer.finish()
        if out.exists():
            out.rmdir()
        partial.replace(out)
    except OSError as error:
        raise DataError(f"{out} cannot be written ({error})", "Make room, or choose another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Conversion(out, *count, notes.problems(), "areas" if data.task == "segmentation" else "objects")


def _check(data: Data, format: Format, out: Path) -> None:
    if format not in get_args(Format):
        raise DataError(f"'{format}' is no format that is written", f"Choose {', '.join(get_args(Format))}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is there and not empty", "Choose a new folder, or empty this one first")
    if data.task == "segmentation" and format not in MAPS:
        raise DataError(
            f"{data.name} has maps of classes, in which nobody knows one object from the next",
            f"Choose {', '.join(MAPS)}",
        )
    if data.task != "segmentation" and format in MAPS:
        raise DataError(f"{data.name} has no maps of classes", 'Open it with task="segmentation" if it has shapes')
    if data.task == "captioning":
        raise DataError(
            f"{data.name} has sentences, for which no format is written", "Copy captions.txt and the pictures"
        )
    if data.task == "detection" and format == "folder":
        raise DataError(
            f"{data.name} has boxes, and a folder for each class can only say what a whole picture is",
            "Choose voc, coco or yolo",
        )
    if data.task == "classification" and format != "folder":
        raise DataError(f"{data.name} has no boxes, and {format} is a format for boxes", "Choose folder")
    wrong = [name for name in data.classes if NO_FOLDER_NAME & set(name) or name.startswith(".")]
    if format == "folder" and wrong:
        raise DataError(f"The class '{wrong[0]}' cannot be the name of a folder", "Rename the class")


def _write(
    data: Data,
    writer: Writer,
    stems: Mapping[str, str],
    notes: Notes,
    on_progress: Callable[[int, int], None] | None,
) -> tuple[int, int]:
    """Write all splits; how many pictures and objects were written."""
    total = sum(len(dataset) for _, dataset in data)
    done = written = objects = 0
    for split, dataset in data:
        for index in range(len(dataset)):
            annotation = dataset.annotation(index)
            folder = writer.folder(split, annotation)
            folder.mkdir(parents=True, exist_ok=True)
            try:
                if data.task == "segmentation":
                    annotation = replace(annotation, semantic=cast(Maps, dataset).semantic(index))
                picture, size = _write_picture(dataset, index, annotation.path, folder / stems[annotation.name])
                objects += writer.add(split, picture, annotation, size)
                written += 1
                if annotation.sentences:
                    notes.once(annotation.name, "has sentences, for which these formats have no place", "not written")
            except (DataError, PictureError) as error:
                notes.add(annotation.name, error.problem, "left out")
            done += 1
            if on_progress:
                on_progress(done, total)
    return written, objects


def _write_picture(dataset: Dataset, index: int, source: Path | None, place: Path) -> tuple[Path, Size]:
    """Copy or write one picture; the file and its upright (height, width). `place`: the file without its suffix."""
    if source:
        size, turned = pictures.size_and_turn(source)
        if not turned:
            copy = place.with_name(place.name + source.suffix.lower())
            shutil.copyfile(source, copy)
            return copy, size
    pixels = dataset.picture(index)
    suffix = ".jpg" if source and source.suffix.lower() in JPEG else ".png"
    file = place.with_name(place.name + suffix)
    pictures.write(pixels, file)
    return file, (pixels.shape[0], pixels.shape[1])


@dataclass(frozen=True, slots=True)
class _Survey:
    """What must be known of all pictures before the first is written.

    stems: name of a picture -> its file name without suffix; shaped: whether some and whether all pictures with objects
    have shapes.
    """

    stems: Mapping[str, str]
    shaped: tuple[bool, bool]


def _survey(data: Data) -> _Survey:
    names, shaped = [], []
    for _, dataset in data:
        for index in range(len(dataset)):
            annotation = dataset.annotation(index)
            names.append(annotation.name)
            if len(annotation.boxes):
                shaped.append(bool(annotation.segments))
    return _Survey(_stems(names), (any(shaped), all(shaped)))


def _stems(names: Sequence[str]) -> Mapping[str, str]:
    """Name of a picture -> file name without suffix, unique: as few folders of the name joined on as tell all apart."""
    distinct = list(dict.fromkeys(names))
    parts = [[part for part in _without_suffix(name).parts if part not in ("..", "/")] for name in distinct]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        stems = ["_".join(item[-depth:]) for item in parts]
        if len({stem.casefold() for stem in stems}) == len(stems):
            return dict(zip(distinct, stems, strict=True))
    # "a.jpg" and "a.png" in one folder, or "a/b" beside "a_b".
    return {name: f"{'_'.join(item)}_{number}" for number, (name, item) in enumerate(zip(distinct, parts, strict=True))}


def _without_suffix(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    return path.with_suffix("") if path.suffix.lower() in pictures.SUFFIXES else path


@dataclass(slots=True)
class _Voc(Writer):
    lists: dict[str, list[str]] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)

    def folder(self, split: str, annotation: Annotation) -> Path:
        return self.root / "JPEGImages"

    def add(self, split: str, picture: Path, annotation: Annotation, size: Size) -> int:
        (self.root / "Annotations").mkdir(exist_ok=True)
        path = self.root / "Annotations" / f"{picture.stem}.xml"
        voc.write(path, picture=picture.name, annotation=annotation, size=size, classes=self.data.classes)
        self.lists.setdefault(split, []).append(picture.stem)
        self.used.update(annotation.labels.tolist())
        if annotation.segments:
            self.notes.once(annotation.name, "VOC's XML has no place for shapes", "only boxes are written")
        return len(annotation.boxes)

    def finish(self) -> None:
        folder = self.root / "ImageSets" / "Main"
        folder.mkdir(parents=True)
        lists = {**self.lists, "trainval": [*self.lists.get("train", []), *self.lists.get("val", [])]}
        for split, stems in lists.items():
            (folder / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")
        unused = [name for label, name in enumerate(self.data.classes) if label not in self.used]
        if unused:
            what = f"VOC has no list of classes, and no object is of {', '.join(unused)}"
            self.notes.add(self.data.name, what, "these classes are lost")


@dataclass(slots=True)
class _Coco(Writer):
    entries: dict[str, list[coco.Entry]] = field(default_factory=dict)

    def folder(self, split: str, annotation: Annotation) -> Path:
        return self.root / split

    def add(self, split: str, picture: Path, annotation: Annotation, size: Size) -> int:
        self.entries.setdefault(split, []).append((picture.name, size, coco.items(annotation)))
        return len(annotation.boxes)

    def finish(self) -> None:
        (self.root / "annotations").mkdir()
        for split, entries in self.entries.items():
            coco.write(self.root / "annotations" / f"instances_{split}.json", entries, self.data.classes)


@dataclass(slots=True)
class _Yolo(Writer):
    def __post_init__(self) -> None:
        if self.shaped == (True, False):
            self.notes.add(self.data.name, "some objects have a shape and others have none", "only boxes are written")

    def folder(self, split: str, annotation: Annotation) -> Path:
        return self.root / "images" / split

    def add(self, split: str, picture: Path, annotation: Annotation, size: Size) -> int:
        path = self.root / "labels" / split / f"{picture.stem}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        objects = np.flatnonzero(~annotation.crowd)
        if len(objects) < len(annotation.boxes):
            self.notes.once(annotation.name, "YOLO has no crowd (regions that do not count)", "those objects left out")
        boxes, segments = annotation.boxes, annotation.segments
        # Readers of YOLO take a file with both kinds of rows, or a data set with both kinds of files, for broken.
        polygons = [polygon(segments[index], boxes[index]) for index in objects] if self.shaped == (True, True) else []
        yolo.write(path, labels=annotation.labels[objects], boxes=boxes[objects], polygons=polygons, size=size)
        return len(objects)

    def finish(self) -> None:
        yolo.write_settings(self.root / "data.yaml", splits=list(self.data.splits), classes=self.data.classes)


class _Folder(Writer):
    def folder(self, split: str, annotation: Annotation) -> Path:
        if annotation.label is None:
            raise DataError(f"{annotation.name} has no class", "Leave it out of the data set")
        return self.root / split / self.data.classes[annotation.label]

    def add(self, split: str, picture: Path, annotation: Annotation, size: Size) -> int:
        return 0

    def finish(self) -> None:
        for split in self.data.splits:
            for name in self.data.classes:
                (self.root / split / name).mkdir(parents=True, exist_ok=True)


_WRITERS: Mapping[str, type[Writer]] = {
    "voc": _Voc,
    "coco": _Coco,
    "yolo": _Yolo,
    "folder": _Folder,
    "masks": map_writers.Masks,
    "colours": map_writers.Colours,
    "panoptic": map_writers.Panoptic,
}


def polygon(segments: Segments, box: np.ndarray) -> np.ndarray:
    """One polygon [points, 2] for a shape of many: each ring is closed, then the line goes back to the first.

    The way there and back encloses nothing, so that filling the polygon gives the shape again, holes too. An empty
    mask gives its box.
    """
    rings = outlines(segments) if isinstance(segments, np.ndarray) else segments
    if not rings:
        return box[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2)
    if len(rings) == 1:
        return rings[0]
    start = rings[0][:1]
    return np.concatenate([part for ring in rings for part in (ring, ring[:1], start)])


def outlines(mask: np.ndarray) -> tuple[np.ndarray, ...]:
    """The outlines [points, 2] (x, y) of a bool mask [height, width], holes too, along the edges of the pixels."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return ()
    corner = np.array([columns[0], rows[0]], np.float32)
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    # cv2 draws contours through pixel centres, which makes an object one pixel smaller. On a grid of pixel corners and
    # edges, of which each pixel sets three by three, the same contour runs along the edges.
    double = part.repeat(2, 0).repeat(2, 1)
    grid = np.zeros((double.shape[0] + 1, double.shape[1] + 1), np.uint8)
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        grid[down : down + double.shape[0], right : right + double.shape[1]] |= double
    rings, _ = cv2.findContours(grid, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return tuple(ring.reshape(-1, 2).astype(np.float32) / 2 + corner for ring in rings)
