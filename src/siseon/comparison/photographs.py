"""The same pictures with the truth and with what each model found in them, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from siseon import drawing, pictures
from siseon.comparison.kinds import KINDS
from siseon.comparison.result import Comparison, Result
from siseon.comparison.words import HEADINGS, Language
from siseon.data.dataset import Annotation
from siseon.interface import VOID, Classification, Detections, Prediction, Segmentation

COLUMNS = 4


class Photo(NamedTuple):
    """A picture of the test split: its pixels, what is known of it, and what each model said to it."""

    pixels: np.ndarray
    annotation: Annotation
    answers: Mapping[str, Prediction]


class Sheet(NamedTuple):
    """A file to show. Of classification also the true class, and (answer, whether it is right) of each model."""

    file: Path
    truth: str = ""
    answers: tuple[tuple[str, bool], ...] = ()


def draw(comparison: Comparison, photos: Sequence[Photo], languages: tuple[Language, ...]) -> list[Sheet]:
    """Write the first photos into the folder photos: the truth and every model's boxes, or map, on one sheet."""
    folder = comparison.folder / "photos"
    sheets = []
    for number, photo in enumerate(photos[: KINDS[comparison.task].shown], start=1):
        path = folder / f"{number:02}.jpg"
        if comparison.task == "detection":
            _write_boxes(comparison, photo, languages, path)
            sheets.append(Sheet(path))
        elif comparison.task == "segmentation":
            _write_maps(comparison, photo, languages, path)
            sheets.append(Sheet(path))
        else:
            pictures.write(drawing.contact_sheet([photo.pixels]), path)
            sheets.append(_answered(comparison, photo, path))
    return sheets


def answering(comparison: Comparison) -> list[Result]:
    """The models whose answers are shown."""
    return [result for result in comparison.finished if result.stages]


def _write_boxes(comparison: Comparison, photo: Photo, languages: tuple[Language, ...], path: Path) -> None:
    known = photo.annotation
    boxes, labels = torch.from_numpy(known.boxes), torch.from_numpy(known.labels)
    truth = Detections(boxes, labels, torch.ones(len(labels)), comparison.classes)
    tiles, captions = [drawing.draw_truth(photo.pixels, truth)], [HEADINGS["truth"].within(languages)]
    for result in answering(comparison):
        answer = photo.answers[result.model]
        assert isinstance(answer, Detections)
        tiles.append(drawing.draw(photo.pixels, answer.above(result.score)))
        captions.append(f"{result.model} (≥ {result.score:.0%})")
    pictures.write(drawing.contact_sheet(tiles, captions, columns=COLUMNS), path)


def _write_maps(comparison: Comparison, photo: Photo, languages: tuple[Language, ...], path: Path) -> None:
    """The true map and those of the models over the picture, and the colours of the classes below."""
    truth = photo.annotation.semantic
    assert truth is not None
    known = truth != VOID
    tiles = [drawing.tinted(photo.pixels, truth, comparison.classes)]
    captions = [HEADINGS["truth"].within(languages)]
    for result in answering(comparison):
        answer = photo.answers[result.model]
        assert isinstance(answer, Segmentation)
        found = answer.labels.to(torch.uint8).numpy()
        tiles.append(drawing.tinted(photo.pixels, found, comparison.classes))
        captions.append(f"{result.model} ({(found == truth)[known].mean():.0%})" if known.any() else result.model)
    sheet = drawing.contact_sheet(tiles, captions, columns=COLUMNS)
    entries = [(drawing.swatch(label, name), name) for label, name in enumerate(comparison.classes)]
    pictures.write(np.concatenate([sheet, drawing.legend(entries, sheet.shape[1], letters=20)]), path)


def _answered(comparison: Comparison, photo: Photo, path: Path) -> Sheet:
    label = photo.annotation.label
    truth = "?" if label is None else comparison.classes[label]
    answers = []
    for result in answering(comparison):
        answer = photo.answers[result.model]
        assert isinstance(answer, Classification)
        name, score = answer.top(1)[0]
        answers.append((f"{name} ({score:.0%})", name == truth))
    return Sheet(path, truth, tuple(answers))
