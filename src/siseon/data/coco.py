"""COCO JSON: one file a split with images, annotations and categories (Lin et al. 2014; cocodataset.org/#format-data).

Read: the .json itself; a folder with annotations/instances_*.json or other such files; a folder for each split with
_annotations.coco.json in it (Roboflow). A box is stored as left, top, width, height. A shape is a list of polygons or
a run-length code, compressed or not. iscrowd becomes crowd.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from faster_coco_eval.core import mask as runs_code

from siseon.data.dataset import Annotation, Segments
from siseon.data.files import Contents, Files, Notes, Record, Shape, clean_name, split_of, text_of
from siseon.data.mending import encode
from siseon.interface import DataError, Size

OTHER_KINDS = ("captions", "person_keypoints", "panoptic", "stuff", "image_info")
"""Beginnings of the names of COCO's files that hold no objects, or hold them a second time."""

STARTS = r'\s*\{\s*"(images|annotations|categories|info|licenses|type)"\s*:'
"""How a COCO file begins: enough to know it by, without reading hundreds of megabytes twice."""


def recognises(files: Files) -> bool:
    """Whether there is a JSON file that begins as COCO's do."""
    return any(re.match(STARTS, _beginning(path)) for path in _candidates(files))


def read(files: Files, notes: Notes) -> Contents:
    """Read the chosen JSON file, or those of all splits under the folder."""
    records: list[Record] = []
    categories: dict[str, None] = {}
    for path in _candidates(files):
        try:
            content = load(path)
        except DataError as error:
            notes.add(path, error.problem.removeprefix(f"{path} "), "left out")
            continue
        names = categories_of(content, path, notes)
        categories |= dict.fromkeys(names.values())
        records += _Reader(files, notes, path, names).records(content)
    return Contents("detection", records, tuple(categories))


def _candidates(files: Files) -> list[Path]:
    if files.chosen:
        return [files.chosen]
    paths = [path for path in files.of(".json") if not path.name.startswith(OTHER_KINDS)]
    instances = [path for path in paths if path.name.startswith("instances_")]
    return instances or paths


def _beginning(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(1000).decode("utf-8-sig", errors="ignore")


def load(path: Path) -> dict[str, Any]:
    """The content of a JSON file with images, annotations and categories. Raises DataError naming the file."""
    try:
        content = json.loads(text_of(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is broken JSON ({error})", "Export it again") from error
    parts = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(part), list) for part in parts):
        raise DataError(
            f"{path} is not COCO JSON: it needs lists of images, annotations and categories", "Export it again"
        )
    return content


def categories_of(content: Mapping[str, Any], path: Path, notes: Notes) -> dict[Any, str]:
    """Number -> name. Roboflow puts the name of the project first, as the parent of all others; it is no class."""
    names: dict[Any, str] = {}
    for entry in content["categories"]:
        if not _numbered(entry) or not isinstance(entry.get("name"), str) or not clean_name(entry["name"]):
            notes.add(path, f"the category {json.dumps(entry, ensure_ascii=False)} has no id or no name", "left out")
        elif entry["id"] in names:
            notes.add(path, f"two categories have the number {entry['id']}", f"'{entry['name']}' left out")
        else:
            names[entry["id"]] = clean_name(entry["name"])
    if len(set(names.values())) < len(names):
        twice = sorted({name for name in names.values() if list(names.values()).count(name) > 1})
        notes.add(path, f"two categories have the same name: {', '.join(twice)}", "taken as one class")
    parents = {
        clean_name(str(entry.get("supercategory"))) for entry in content["categories"] if isinstance(entry, dict)
    }
    used = {item.get("category_id") for item in content["annotations"] if _numbered(item, "category_id")}
    root = [number for number, name in names.items() if number == 0 and name in parents and number not in used]
    return {number: name for number, name in names.items() if number not in root}


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one JSON file."""

    files: Files
    notes: Notes
    path: Path
    categories: Mapping[Any, str]

    def records(self, content: Mapping[str, Any]) -> list[Record]:
        """One record for each image whose file is there, with its annotations."""
        images: dict[Any, Record | None] = {}
        objects: dict[Any, list[Mapping[str, Any]]] = {}
        split = split_of(self.path.stem, *reversed(self.files.parts(self.path)))
        for entry in content["images"]:
            self._add_image(entry, split, images)
        for item in content["annotations"]:
            if _numbered(item, "image_id") and item["image_id"] in images:
                objects.setdefault(item["image_id"], []).append(item)
            else:
                self._drop(item, "belongs to no image of the file")
        records = []
        for number, record in images.items():
            if record:
                self._add_objects(record, objects.get(number, []))
                records.append(record)
        return records

    def _add_image(self, entry: Any, split: str, images: dict[Any, Record | None]) -> None:  # noqa: ANN401
        if not _numbered(entry) or not isinstance(entry.get("file_name"), str) or not entry["file_name"]:
            self.notes.add(
                self.path,
                f"the image {json.dumps(entry, ensure_ascii=False)[:80]} has no id or no file_name",
                "left out",
            )
        elif entry["id"] in images:
            self.notes.add(self.path, f"two images have the number {entry['id']}", f"{entry['file_name']} left out")
        else:
            picture = self.files.picture(entry["file_name"], self.path, split)
            images[entry["id"]] = Record(picture, self.path, split, stated=_size(entry)) if picture else None
            if not picture:
                self.notes.add(self.path, f"its picture '{entry['file_name']}' is missing", "left out")

    def _add_objects(self, record: Record, items: Sequence[Mapping[str, Any]]) -> None:
        boxes, crowd = [], []
        for item in items:
            shape = self._shape(item, record.stated)
            box = _box(item, shape)
            name = self.categories.get(item["category_id"]) if _numbered(item, "category_id") else None
            if box is None or name is None:
                self._drop(
                    item, "has no bbox of four numbers" if name else f"has the unknown class {item.get('category_id')}"
                )
                continue
            boxes.append(box)
            crowd.append(bool(item.get("iscrowd")))
            record.names.append(name)
            record.shapes.append(shape)
        record.boxes = np.array(boxes, float).reshape(-1, 4)
        record.crowd = np.array(crowd, bool)

    def _shape(self, item: Mapping[str, Any], size: Size | None) -> Shape | None:
        stated = item.get("segmentation")
        if not stated:
            return None
        try:
            return _polygons(stated) if isinstance(stated, list) else _runs(stated, size)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RuntimeError) as error:
            self.notes.add(
                self.path, f"the shape of annotation {item.get('id')} is broken ({error})", "only its box is used"
            )
            return None

    def _drop(self, item: Any, what: str) -> None:  # noqa: ANN401
        number = item.get("id") if isinstance(item, dict) else item
        self.notes.add(self.path, f"annotation {number} {what}", "left out")


def _numbered(entry: Any, key: str = "id") -> bool:  # noqa: ANN401
    """Whether an entry of the file is a mapping with a number, or text in its place, under `key`."""
    return isinstance(entry, dict) and isinstance(entry.get(key), int | str)


def _size(entry: Mapping[str, Any]) -> Size | None:
    try:
        height, width = int(entry.get("height", 0)), int(entry.get("width", 0))
    except (TypeError, ValueError, OverflowError):
        return None
    return (height, width) if height > 0 and width > 0 else None


def _box(item: Mapping[str, Any], shape: Shape | None) -> list[float] | None:
    """The box as edges; from the polygons where there is none."""
    stated = item.get("bbox")
    if isinstance(stated, list) and len(stated) == 4:
        try:
            left, top, width, height = map(float, stated)
            return [left, top, left + width, top + height]
        except (TypeError, ValueError, OverflowError):
            return None
    if not isinstance(shape, tuple):
        return None
    points = np.concatenate(shape)
    return [*points.min(0).tolist(), *points.max(0).tolist()]


def _polygons(stated: list[Any]) -> Shape:
    rings = [np.array(ring, float).reshape(-1, 2) for ring in stated]
    if any(len(ring) < 3 for ring in rings):
        raise ValueError("a polygon needs three points")
    return tuple(rings)


def _runs(stated: Mapping[str, Any], size: Size | None) -> Shape:
    height, width = map(int, stated.get("size") or size or (0, 0))
    runs = {"size": [height, width], "counts": stated["counts"]}
    if isinstance(runs["counts"], list):
        runs = runs_code.frPyObjects(runs, height, width)
    # Decoding once here finds broken codes while the file can still be named.
    return encode(runs_code.decode(runs))


Entry: TypeAlias = "tuple[str, Size, list[dict[str, Any]]]"
"""One picture to be written: file name, (height, width), and its objects as `items` makes them."""


def write(path: Path, entries: Sequence[Entry], classes: Sequence[str]) -> None:
    """Write one split. Numbers of images, annotations and categories begin at 1."""
    images = []
    annotations: list[dict[str, Any]] = []
    for number, (picture, (height, width), objects) in enumerate(entries, start=1):
        images.append({"id": number, "file_name": picture, "width": width, "height": height})
        for item in objects:
            annotations.append({"id": len(annotations) + 1, "image_id": number, **item})
    categories = [{"id": label, "name": name} for label, name in enumerate(classes, start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def items(annotation: Annotation) -> list[dict[str, Any]]:
    """The objects of a picture as COCO stores them; masks become compressed runs."""
    return [_item(annotation, index) for index in range(len(annotation.boxes))]


def _item(annotation: Annotation, index: int) -> dict[str, Any]:
    left, top, right, bottom = (round(float(edge), 3) for edge in annotation.boxes[index])
    box = [left, top, round(right - left, 3), round(bottom - top, 3)]
    segments = annotation.segments[index] if annotation.segments else ()
    shape, area = _stored(segments)
    return {
        "category_id": int(annotation.labels[index]) + 1,
        "bbox": box,
        "area": area or round(box[2] * box[3], 3),
        "segmentation": shape,
        "iscrowd": int(annotation.crowd[index]),
    }


def _stored(segments: Segments) -> tuple[list[list[float]] | dict[str, Any], float]:
    """A shape as COCO stores it, and its area in pixels."""
    if isinstance(segments, np.ndarray):
        runs = encode(segments)
        return {"size": list(segments.shape), "counts": runs["counts"].decode()}, float(segments.sum())
    area = sum(_ring_area(ring) for ring in segments)
    return [np.round(ring.astype(float), 3).ravel().tolist() for ring in segments], round(area, 3)


def _ring_area(ring: np.ndarray) -> float:
    """The shoelace formula."""
    x, y = ring.astype(float).T
    return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2
