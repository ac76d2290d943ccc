"""COCO's panoptic form: a PNG a picture whose colours are numbers of segments, and a JSON that gives each its class.

Read: panoptic_*.json with its PNG files anywhere below the folder (Kirillov et al. 2019, arXiv:1801.00868;
cocodataset.org/#format-data). Things and stuff are classes alike; crowd segments and what has no segment are void.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from siseon.data.coco import categories_of, load
from siseon.data.files import Contents, Files, Notes, Record, split_of
from siseon.data.map_files import MapFile
from siseon.interface import DataError


def recognises(files: Files) -> bool:
    """Whether the chosen JSON, or one of those there are, is called panoptic."""
    return bool(_candidates(files))


def read(files: Files, notes: Notes) -> Contents:
    """Every picture of all splits that has a PNG of segments."""
    records: list[Record] = []
    classes: dict[str, None] = {}
    for path in _candidates(files):
        try:
            content = load(path)
        except DataError as error:
            notes.add(path, error.problem.removeprefix(f"{path} "), "left out")
            continue
        names = categories_of(content, path, notes)
        classes |= dict.fromkeys(names.values())
        labels = {name: label for label, name in enumerate(classes)}
        numbers = {number: labels[name] for number, name in names.items()}
        images = {image["id"]: image for image in content["images"] if isinstance(image, dict) and "id" in image}
        split = split_of(path.stem, *reversed(files.parts(path)))
        for item in content["annotations"]:
            record = _record(item, images, numbers, split, path, files, notes)
            if record:
                records.append(record)
    return Contents("segmentation", records, tuple(classes))


def _candidates(files: Files) -> list[Path]:
    return [path for path in ([files.chosen] if files.chosen else files.of(".json")) if "panoptic" in path.stem.lower()]


def _record(
    item: Any,  # noqa: ANN401
    images: Mapping[Any, Mapping[str, Any]],
    numbers: Mapping[Any, int],
    split: str,
    path: Path,
    files: Files,
    notes: Notes,
) -> Record | None:
    """One picture with its segments; None, and a note, where something of it is missing."""
    try:
        image = images[item["image_id"]]
        segments = {
            int(segment["id"]): numbers[segment["category_id"]]
            for segment in item["segments_info"]
            if not segment.get("iscrowd") and segment["category_id"] in numbers
        }
        drawn, named = str(item["file_name"]), str(image["file_name"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        notes.add(path, f"an annotation is broken ({type(error).__name__}: {error})", "left out")
        return None
    picture = files.picture(named, path, split)
    segments_file = files.picture(drawn, path, split)
    if picture is None or segments_file is None or picture == segments_file:
        notes.add(path, f"'{named if picture is None else drawn}' is missing", "left out")
        return None
    return Record(picture, path, split, map=MapFile(segments_file, segments, coloured=True))
