"""A folder a class: train|val|test/CLASS/*.jpg, or CLASS/*.jpg where nobody has split the pictures yet."""

from __future__ import annotations

from pathlib import Path

from siseon.data.files import Contents, Files, Notes, Record, clean_name, split_of

NO_CLASSES = {"images", "image", "img", "imgs", "pictures", "photos", "jpegimages", "masks", "labels", "annotations"}
"""Names of folders that hold pictures of all classes, so that what lies here is another format, or has no labels."""


def recognises(files: Files) -> bool:
    """Whether there are pictures in folders that can be classes: not "images", not both "train" and "test"."""
    classes = {record.label or "" for record in read(files, Notes(files.root)).records}
    splits = {split_of(name) for name in classes} - {""}
    return bool(classes) and len(splits) < 2 and not {name.lower() for name in classes} & NO_CLASSES


def read(files: Files, notes: Notes) -> Contents:
    """Every picture below a class folder; the class is the name of that folder."""
    split_folders = {
        path: split_of(path.name) for path in _folders(files.root) if split_of(path.name) and _folders(path)
    }
    # A folder "train" beside "bus" and "car" is a class; it is a split only if there are folders in it.
    roots = split_folders or {files.root: ""}
    records = []
    for picture in files.pictures:
        root = next((folder for folder in roots if picture.is_relative_to(folder)), None)
        if root is None or picture.parent == root:
            notes.add(picture, "is in no class folder", "left out")
        else:
            label = clean_name(picture.relative_to(root).parts[0])
            records.append(Record(picture, picture, roots[root], label=label))
    classes = {clean_name(path.name) for root in roots for path in _folders(root)}
    return Contents("classification", records, tuple(sorted(classes)))


def _folders(path: Path) -> list[Path]:
    return sorted(item for item in path.iterdir() if item.is_dir() and not item.name.startswith("."))
