"""YOLO text: a file a picture, a row an object, in fractions of the upright picture (docs.ultralytics.com/datasets).

A row is `class x y width height` (x, y the centre), or `class x1 y1 x2 y2 x3 y3 ...`, a polygon. Layouts read: a
data.yaml that names the folders (or lists of pictures) of train, val and test, and the classes; images and labels
folders, with or without splits in them; train/images and train/labels (Roboflow); text files beside the pictures. A
picture without a text file has no objects. There is no crowd.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from siseon.data.files import Contents, Files, Notes, Record, Shape, clean_name, split_of, text_of
from siseon.interface import DataError, Size

SPLITS = ("train", "val", "test")
LISTS = {"classes.txt", "obj.names", "labels.txt", "notes.txt", *(f"{split}.txt" for split in (*SPLITS, "valid"))}
"""Text files that hold no rows."""

NOTHING = ("", "~", "null", "Null", "NULL", "None")
"""How a data.yaml says that there is no such split."""


def recognises(files: Files) -> bool:
    """Whether there is a data.yaml with class names, or text files with rows for pictures."""
    return bool(_settings_file(files)) or _row_files(files)


def read(files: Files, notes: Notes) -> Contents:
    """Read the text files of all pictures that the data.yaml names, or that lie under the folder."""
    path = _settings_file(files)
    settings = _load(path) if path else {}
    names = _names(settings, path) if path else _names_from_text(files, notes)
    splits = _listed(settings, path, files, notes) if path else {}
    found = splits or _walked(files)
    records = []
    for split, pictures in found.items():
        for picture in pictures:
            records.append(_record(picture, split, names, files, notes))
    _note_lonely(records, files, notes)
    classes = tuple(dict.fromkeys(names.values()))
    if len(classes) < len(names):
        twice = sorted({name for name in classes if list(names.values()).count(name) > 1})
        notes.add(path or files.root, f"two classes have the same name: {', '.join(twice)}", "taken as one class")
    if not classes:
        classes = tuple(sorted({name for record in records for name in record.names}, key=lambda name: int(name)))
        notes.once(files.root, "there is no data.yaml and no classes.txt", "the numbers of the classes are their names")
    return Contents("detection", records, classes)


def _settings_file(files: Files) -> Path | None:
    if files.chosen:
        return files.chosen
    for path in sorted(files.of(".yaml", ".yml"), key=lambda path: (len(path.parts), path.name != "data.yaml")):
        try:
            settings = _load(path)
        except DataError:
            if path.name == "data.yaml":
                return path
            continue
        if {"train", "val", "test", "path"} & settings.keys():
            return path
    return None


def _row_files(files: Files) -> bool:
    texts = {path.with_suffix("") for path in files.of(".txt") if path.name not in LISTS}
    return any(_text_file(picture).with_suffix("") in texts for picture in files.pictures)


def _load(path: Path) -> Mapping[str, Any]:
    try:
        # The base loader leaves everything text: to the safe loader the class "no" is False and "1e3" a number.
        settings = yaml.load(text_of(path), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{path} is broken YAML ({' '.join(str(error).split())})", "Mend that line") from error
    if not isinstance(settings, dict) or "names" not in settings:
        raise DataError(f"{path} has no 'names'", "Add the names of the classes: names: [cat, dog]")
    return settings


def _names(settings: Mapping[str, Any], path: Path) -> dict[int, str]:
    """Number -> class name, from a list or a mapping."""
    stated = settings["names"]
    pairs = stated.items() if isinstance(stated, dict) else enumerate(stated) if isinstance(stated, list) else ()
    try:
        names = {int(number): clean_name(name) for number, name in pairs}
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: the names are not texts numbered 0, 1, ...", "Write names: [cat, dog]") from error
    if not names:
        raise DataError(f"{path} names no class", "Write names: [cat, dog]")
    return dict(sorted(names.items()))


def _names_from_text(files: Files, notes: Notes) -> dict[int, str]:
    """From classes.txt (labelImg) or obj.names (Darknet): one name a line."""
    for path in files.of(".txt", ".names"):
        if path.name in ("classes.txt", "obj.names"):
            try:
                lines = [clean_name(line) for line in text_of(path).splitlines()]
            except DataError as error:
                notes.add(path, error.problem, "left out")
                continue
            return {number: name for number, name in enumerate(lines) if name}
    return {}


def _listed(settings: Mapping[str, Any], path: Path, files: Files, notes: Notes) -> dict[str, list[Path]]:
    """Split -> pictures, as the data.yaml says."""
    splits: dict[str, list[Path]] = {}
    for key in (*SPLITS, "valid"):
        stated = settings.get(key)
        split = split_of(key)
        for place in stated if isinstance(stated, list) else [] if stated in (None, *NOTHING) else [stated]:
            found = _place(str(place), path.parent, str(settings.get("path") or ""))
            if found is None:
                notes.add(path, f"'{key}: {place}' is not there", "left out")
            elif found.is_dir():
                splits.setdefault(split, []).extend(Files(found).pictures)
            else:
                splits.setdefault(split, []).extend(_picture_list(found, files, notes))
    return splits


def _place(place: str, here: Path, root: str) -> Path | None:
    """A folder or list of the data.yaml; many files are written for another working directory ("../train/images")."""
    plain = place.replace("\\", "/")
    inside = plain
    while inside.startswith(("../", "./")):
        inside = inside.split("/", 1)[1]
    name = Path(root).name
    guesses = [here / root / inside, here / inside, here / root / plain, here / plain, here / name / inside]
    return next((guess for guess in guesses if _exists(guess)), None)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or has a zero in it
        return False


def _picture_list(path: Path, files: Files, notes: Notes) -> list[Path]:
    try:
        lines = [line.strip() for line in text_of(path).splitlines()]
    except DataError as error:
        notes.add(path, error.problem, "left out")
        return []
    listed = [(path.parent / line, line) for line in lines if line]
    # Lists often hold paths of the machine that made them.
    return [place if _exists(place) else files.picture(line, path) or place for place, line in listed]


def _walked(files: Files) -> dict[str, list[Path]]:
    splits: dict[str, list[Path]] = {}
    for picture in files.pictures:
        splits.setdefault(split_of(*files.parts(picture)), []).append(picture)
    return splits


def _text_file(picture: Path) -> Path:
    """The text file of a picture: `images` in its path becomes `labels`, or it lies beside the picture."""
    parts = picture.with_suffix(".txt").parts
    for index in range(len(parts) - 2, -1, -1):
        if parts[index].lower() == "images":
            twin = Path(*parts[:index], "labels", *parts[index + 1 :])
            return twin if twin.exists() or not Path(*parts).exists() else Path(*parts)
    return Path(*parts)


def _record(picture: Path, split: str, names: Mapping[int, str], files: Files, notes: Notes) -> Record:
    path = _text_file(picture)
    record = Record(picture, path, split, fractions=True)
    if not path.exists():
        notes.once(picture, "has no text file with rows", "taken as a picture without objects")
        return record
    try:
        lines = text_of(path).splitlines()
    except DataError as error:
        notes.add(path, error.problem.removeprefix(f"{path} "), "taken as a picture without objects")
        return record
    boxes = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            name, box, shape = _row(line.split(), names)
        except ValueError as error:
            notes.add(path, f"row {number} {error}", "left out")
            continue
        record.names.append(name)
        record.shapes.append(shape)
        boxes.append(box)
    record.boxes = np.array(boxes, float).reshape(-1, 4)
    record.crowd = np.zeros(len(boxes), bool)
    return record


def _note_lonely(records: Sequence[Record], files: Files, notes: Notes) -> None:
    """Note text files without a picture, in the folders where others have one."""
    used = {record.source for record in records}
    folders = {path.parent for path in used}
    for path in files.of(".txt"):
        if path not in used and path.parent in folders and path.name not in LISTS:
            notes.add(path, "its picture is missing", "left out")


def _row(words: list[str], names: Mapping[int, str]) -> tuple[str, list[float], Shape | None]:
    """Class, box as edges, polygon if it is one. Raises ValueError that says what is wrong with the row."""
    try:
        number, *values = map(float, words)
    except ValueError:
        raise ValueError(f"holds a word that is no number: {' '.join(words)[:60]}") from None
    if not number.is_integer():
        raise ValueError(f"begins with {words[0]}, which is no class number")
    if (names and int(number) not in names) or number < 0:
        raise ValueError(f"has the unknown class {int(number)}")
    # Twice the picture is past any clipping: these are pixels.
    if any(abs(value) > 2 for value in values):
        raise ValueError("holds pixels, not fractions of the picture")
    name = names.get(int(number), str(int(number)))
    if len(values) == 4:
        x, y, width, height = values
        return name, [x - width / 2, y - height / 2, x + width / 2, y + height / 2], None
    if len(values) < 6 or len(values) % 2:
        raise ValueError(f"has {len(words)} numbers; a box has 5, a polygon an odd number from 7")
    points = np.array(values).reshape(-1, 2)
    return name, [*points.min(0).tolist(), *points.max(0).tolist()], (points,)


def write(path: Path, *, labels: np.ndarray, boxes: np.ndarray, polygons: Sequence[np.ndarray], size: Size) -> None:
    """Write the rows of one picture: polygons [points, 2] in pixels where there are any, else boxes [objects, 4]."""
    height, width = size
    rows = []
    for index, label in enumerate(labels):
        if polygons:
            values = polygons[index].astype(float) / (width, height)
        else:
            left, top, right, bottom = boxes[index].astype(float)
            values = np.array([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top])
            values /= (width, height, width, height)
        rows.append(" ".join([str(label), *(f"{value:.8f}" for value in values.ravel())]))
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def write_settings(path: Path, *, splits: list[str], classes: tuple[str, ...]) -> None:
    """Write data.yaml."""
    # A path of this machine would be wrong on the next one; without it every folder is relative to the file.
    settings = {**{split: f"images/{split}" for split in splits}, "names": dict(enumerate(classes))}
    path.write_text(yaml.safe_dump(settings, allow_unicode=True, sort_keys=False), encoding="utf-8")
