"""Maps of classes written as `convert` writes them: indices with a palette, colours, or COCO's panoptic form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from siseon.data.dataset import Annotation
from siseon.data.writer import Writer
from siseon.interface import VOID, Size

VOID_COLOUR = (224, 224, 192)
"""As in Pascal VOC; no class has it."""


def palette() -> np.ndarray:
    """The colours [256, 3] uint8 of the labels, as Pascal VOC has them: the bits of a label, spread over red, green,
    blue, the lowest weighing most; and VOID_COLOUR.
    """
    labels = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for channel in range(3):
        for bit in range(3):
            colours[:, channel] |= ((labels >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    colours[VOID] = VOID_COLOUR
    return colours


class Masks(Writer):
    """images/SPLIT, masks/SPLIT with the labels as PNG (a palette shows them in colours, 255 is void), classes.json."""

    def folder(self, split: str, annotation: Annotation) -> Path:
        """Where the picture goes."""
        return self.root / "images" / split

    def add(self, split: str, picture: Path, annotation: Annotation, size: Size) -> int:
        """Write the map; the number of classes in it."""
        labels = map_of(annotation)
        self.image(labels).save(_beside(self.root / "masks" / split, picture))
        return len(seen(labels))

    def finish(self) -> None:
        """Write the classes in their order."""
        _write_json(self.root / "classes.json", self.named())

    def image(self, labels: np.ndarray) -> Image.Image:
        """A map as it is written."""
        image = Image.fromarray(labels)
        image.putpalette(palette().tobytes())
        return image

    def named(self) -> list[str] | dict[str, list[int]]:
        """What classes.json says."""
        return list(self.data.classes)


class Colours(Masks):
    """The same with a colour for each class, which classes.json tells: name -> [red, green, blue]."""

    def image(self, labels: np.ndarray) -> Image.Image:
        """A map in the colours of its classes."""
        return Image.fromarray(palette()[labels])

    def named(self) -> dict[str, list[int]]:
        """The colours of the classes in their order."""
        return dict(zip(self.data.classes, palette()[: len(self.data.classes)].tolist(), strict=True))


@dataclass(slots=True)
class Panoptic(Writer):
    """COCO's panoptic form (cocodataset.org/#format-data): SPLIT, annotations/panoptic_SPLIT and the JSON beside it.

    Of a map nobody knows one thing from the next: each class of a picture is one segment, and no class is a thing.
    """

    entries: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = field(default_factory=dict)

    def folder(self, split: str, annotation: Annotation) -> Path:
        """Where the picture goes."""
        return self.root / split

    def add(self, split: str, picture: Path, annotation: Annotation, size: Size) -> int:
        """Write the PNG of the segments; their number."""
        labels = map_of(annotation)
        segments = np.zeros((*labels.shape, 3), np.uint8)  # 0 is void; labels stay below 255, so red is enough
        segments[..., 0] = np.where(labels == VOID, 0, labels + 1)
        file = _beside(self.root / "annotations" / f"panoptic_{split}", picture)
        Image.fromarray(segments).save(file)
        found = [_segment(labels == label, label) for label in seen(labels)]
        entries = self.entries.setdefault(split, [])
        number = len(entries) + 1
        image = {"id": number, "file_name": picture.name, "height": size[0], "width": size[1]}
        entries.append((image, {"image_id": number, "file_name": file.name, "segments_info": found}))
        return len(found)

    def finish(self) -> None:
        """Write a JSON for each split."""
        categories = [{"id": label + 1, "name": name, "isthing": 0} for label, name in enumerate(self.data.classes)]
        for split, entries in self.entries.items():
            content = {
                "images": [image for image, _ in entries],
                "annotations": [segments for _, segments in entries],
                "categories": categories,
            }
            _write_json(self.root / "annotations" / f"panoptic_{split}.json", content)


def map_of(annotation: Annotation) -> np.ndarray:
    """The map of a picture, [height, width] uint8; `convert` has read it."""
    assert annotation.semantic is not None
    return annotation.semantic


def seen(labels: np.ndarray) -> list[int]:
    """The labels in a map."""
    return [label for label in np.flatnonzero(np.bincount(labels.ravel(), minlength=256)).tolist() if label != VOID]


def _segment(mask: np.ndarray, label: int) -> dict[str, Any]:
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    corner = [int(columns[0]), int(rows[0])]
    sides = [int(columns[-1]) + 1 - corner[0], int(rows[-1]) + 1 - corner[1]]
    area = int(np.count_nonzero(mask))
    return {"id": label + 1, "category_id": label + 1, "area": area, "bbox": [*corner, *sides], "iscrowd": 0}


def _beside(folder: Path, picture: Path) -> Path:
    """The PNG in another folder that belongs to a picture."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{picture.stem}.png"


def _write_json(path: Path, content: dict[str, Any] | Sequence[str]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
