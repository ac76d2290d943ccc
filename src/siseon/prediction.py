"""Predict picture files into a folder: a drawn copy of each, and all predictions in one file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from siseon import drawing, metrics, pictures
from siseon.evaluation import Model, options_of
from siseon.interface import Caption, Classification, Detections, PictureError, Prediction, Segmentation
from siseon.report import write_json


def predict_files(
    model: Model,
    files: Sequence[Path],
    out: Path,
    *,
    score: float = 0.5,
    top: int = 5,
    batch: int = 4,
    mirrored: bool = False,
    say: Callable[[str], None] = print,
) -> list[PictureError]:
    """Predict `files` and write the drawn pictures and predictions.json into `out`; one line is said for each file.

    Of a segmenter maps/ holds the class of each pixel too, as PNG with a palette.

    A file that cannot be read is passed over; these faults are returned. predictions.json is written also when the
    work is stopped half-way, with what was done.
    """
    out.mkdir(parents=True, exist_ok=True)
    options = options_of(model.task, score=score, mirrored=mirrored)
    rows: list[dict[str, Any]] = []
    faults: list[PictureError] = []
    names = free_names(files)
    try:
        for first in range(0, len(files), batch):
            readable = dict(_readable(files[first : first + batch], faults))
            predictions = model.predict(list(readable.values()), batch=batch, **options) if readable else []
            for (file, picture), prediction in zip(readable.items(), predictions, strict=True):
                pictures.write(drawn(picture, prediction, top), out / names[file])
                if isinstance(prediction, Segmentation):
                    write_map(prediction, out / "maps" / f"{Path(names[file]).stem}.png")
                rows.append(row(file, picture, prediction, top))
                say(f"{file}: {summary(prediction, top)}")
    finally:
        write_json(rows, out / "predictions.json")
    return faults


def propose_files(
    regions: Callable[[np.ndarray], Tensor],
    files: Sequence[Path],
    out: Path,
    *,
    shown: int = 50,
    say: Callable[[str], None] = print,
) -> list[PictureError]:
    """Write the boxes that `regions` gives of each picture, best first, into proposals.json; draw the `shown` best.

    One line is said for each file; those that cannot be read are passed over and returned.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    faults: list[PictureError] = []
    names = free_names(files)
    try:
        for file, picture in _readable(files, faults):
            boxes = regions(picture)
            best = boxes[:shown]
            ranks = tuple(str(rank) for rank in range(1, len(best) + 1))
            marked = Detections(best, torch.arange(len(best)), torch.ones(len(best)), ranks)
            pictures.write(drawing.draw_truth(picture, marked), out / names[file])
            rows.append({"picture": str(file), "boxes": boxes.round().int().tolist()})
            say(f"{file}: {len(boxes)} boxes")
    finally:
        write_json(rows, out / "proposals.json")
    return faults


def drawn(picture: np.ndarray, prediction: Prediction, top: int = 3) -> np.ndarray:
    """The picture with what was found in it drawn on it, or with its best classes or a sentence below it."""
    if isinstance(prediction, Segmentation):
        return drawing.draw_map(picture, prediction)
    if isinstance(prediction, Classification | Caption):
        return drawing.contact_sheet([picture], [summary(prediction, top)], columns=1)
    return drawing.draw(picture, prediction)


def summary(prediction: Prediction, top: int = 5) -> str:
    """One line: "2 dog, 1 cat", "nothing", the best classes, those that cover most, or the sentence and its score."""
    if isinstance(prediction, Segmentation):
        return ", ".join(f"{name} {share:.1%}" for name, share in list(prediction.shares().items())[:top])
    if isinstance(prediction, Caption):
        return f"{prediction.text} {prediction.score:.2f}"
    if isinstance(prediction, Classification):
        return ", ".join(f"{name} {score:.2f}" for name, score in prediction.top(top))
    return ", ".join(f"{count} {name}" for name, count in Counter(prediction.names).most_common()) or "nothing"


def row(file: Path, picture: np.ndarray, prediction: Prediction, top: int) -> dict[str, Any]:
    """The prediction of one file as predictions.json holds it: boxes (left, top, right, bottom) in its pixels.

    A mask is COCO's run-length code, {"size": [height, width], "counts": text}, which pycocotools and its like decode.
    """
    height, width = picture.shape[:2]
    if isinstance(prediction, Segmentation):
        return {"picture": str(file), "width": width, "height": height, "shares": prediction.to_json()}
    if isinstance(prediction, Classification):
        found = [{"class": name, "score": round(score, 4)} for name, score in prediction.top(top)]
        return {"picture": str(file), "width": width, "height": height, "classes": found}
    if isinstance(prediction, Caption):
        return {"picture": str(file), "width": width, "height": height, **prediction.to_json()}
    objects = prediction.to_json()
    if prediction.masks is not None:
        for entry, runs in zip(objects, metrics.run_lengths(prediction.masks), strict=True):
            entry["mask"] = {"size": list(runs["size"]), "counts": runs["counts"].decode("ascii")}
    return {"picture": str(file), "width": width, "height": height, "objects": objects}


def write_map(segmentation: Segmentation, path: Path) -> None:
    """Write the label of each pixel as a PNG [height, width] with a palette, the colours in which maps are drawn."""
    image = Image.fromarray(segmentation.labels.numpy().astype(np.uint8))
    image.putpalette([part for label in range(len(segmentation.classes)) for part in drawing.colour(label)])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def _readable(files: Sequence[Path], faults: list[PictureError]) -> Iterator[tuple[Path, np.ndarray]]:
    for file in files:
        try:
            yield file, pictures.read(file)
        except PictureError as fault:
            faults.append(fault)


def free_names(files: Sequence[Path]) -> dict[Path, str]:
    """A name for each drawn picture: its own, numbered where two are alike; PNG for what is not JPEG or WebP."""
    names: dict[Path, str] = {}
    taken: set[str] = {"predictions.json", "proposals.json"}
    for file in files:
        suffix = file.suffix.lower() if file.suffix.lower() in (".jpg", ".jpeg", ".webp") else ".png"
        name, number = f"{file.stem}{suffix}", 1
        while name.casefold() in taken:
            number += 1
            name = f"{file.stem}-{number}{suffix}"
        taken.add(name.casefold())
        names[file] = name
    return names
