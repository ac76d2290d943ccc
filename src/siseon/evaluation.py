"""How well a model does on a data set: its predictions against the truth, as figures, a table and pictures.

Pictures are predicted at their own size and judged in their own pixels, in the order of the data. One that cannot be
read is passed over, named and counted. Everything that is written says which picture it is about.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol, cast

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import nn

from siseon.answers import JUDGES, Answer
from siseon.data.dataset import Annotation, Data, Dataset, Maps, Problem, Task
from siseon.interface import (
    Classification,
    DataError,
    Detections,
    PictureError,
    Prediction,
    Segmentation,
)
from siseon.metrics import Curve

CHOOSING = (
    *("AP50", "AP", "AP75", "AR100", "mask_AP50", "mask_AP"),
    *("accuracy", "top5", "macro_F1"),
    *("mean_IoU", "pixel_accuracy", "mean_accuracy"),
    *("CIDEr", "BLEU4", "BLEU1", "exact"),
)
"""The figures by which `validate` chooses, those that a task has; its first is the main one."""


class Model(Protocol):
    """What evaluation needs of a model."""

    task: Task
    classes: tuple[str, ...]
    predict: Callable[..., list[Prediction]]


@dataclass(frozen=True)
class Evaluation:
    """A model's answers to a split, and what they are worth.

    metrics: the main figure first ("AP50", "accuracy", "mean_IoU" or "CIDEr"), all 0..1 except CIDEr, 0..10, and
    pictures, unreadable and ms_per_picture, which is the time within `predict` in batches, reading the files not
    counted; "mask_AP50" and its like where model and data have masks; "objects_small", of how many objects AP_small is,
    and its like. per_class: class -> figures, none for sentences.
    confusion: [truth, predicted], for detection with the background last, at score and overlap 0.5; for segmentation of
    pixels. curves: class -> precision against recall, of the boxes.
    """

    task: Task
    classes: tuple[str, ...]
    metrics: dict[str, float]
    per_class: dict[str, dict[str, float]]
    confusion: np.ndarray
    curves: dict[str, Curve]
    answers: tuple[Answer, ...]
    problems: tuple[Problem, ...]

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON can hold them: a figure without meaning is null."""
        names = [*self.classes, *(["(background)"] if self.task == "detection" else [])]
        return {
            "metrics": _without_nan(self.metrics),
            "per_class": {name: _without_nan(figures) for name, figures in self.per_class.items()},
            "confusion": {"rows": "truth", "columns": "predicted", "names": names, "counts": self.confusion.tolist()},
            "problems": [str(problem) for problem in self.problems],
        }

    def table(self) -> str:
        """The figures of the whole and of each class as text, at most 100 columns wide."""
        whole = Table("figure", "value", box=box.SIMPLE_HEAD)
        whole.columns[1].justify = "right"
        for name, value in self.metrics.items():
            whole.add_row(name, _shown(name, value))
        text = StringIO()
        console = Console(file=text, width=100, no_color=True)
        console.print(whole)
        if not self.per_class:
            return text.getvalue()
        columns = list(next(iter(self.per_class.values()), {}))
        classes = Table("class", *columns, box=box.SIMPLE_HEAD)
        for column in classes.columns[1:]:
            column.justify = "right"
        for name, figures in self.per_class.items():
            classes.add_row(escape(name), *(_shown(column, figures[column]) for column in columns))
        console.print(classes)
        return text.getvalue()


def evaluate(
    model: Model,
    data: Data | Dataset,
    *,
    split: str = "test",
    batch: int = 8,
    score: float = 0.05,
    mirrored: bool = False,
    out: Path | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Predict every picture of a split and compare with the truth; with `out`, write the report there (report.write).

    data: a Data, of which `split` is taken ("test" falls back to "val" and the other way round), or one Dataset.
    score: the least score of a detection that counts; Detectron and torchvision take 0.05 too, so figures can be
    compared. mirrored: a classifier judges each picture and its mirror image. Classes are matched by name: a
    detector may know others than the data, which then count neither as right nor as wrong. progress is called with the
    number of pictures done and of all. Raises DataError where model and data do not fit each other.
    """
    dataset = _split_of(data, split) if isinstance(data, Data) else data
    translate = _translation(model, dataset)
    options = options_of(model.task, score=score, mirrored=mirrored)
    answers: list[Answer] = []
    problems: list[Problem] = []
    seconds = 0.0
    done = 0
    for known, pictures, broken in _batches(dataset, batch):
        problems += broken
        if pictures:
            start = perf_counter()
            predictions = model.predict(pictures, batch=batch, **options)
            seconds += perf_counter() - start
            answers += [
                Answer.of(number, annotation, translate(prediction))
                for (number, annotation), prediction in zip(known, predictions, strict=True)
            ]
        done += len(pictures) + len(broken)
        if progress is not None:
            progress(done, len(dataset))
    figures, per_class, confusion, curves = JUDGES[model.task](answers, dataset.classes)
    figures |= {
        "pictures": float(len(answers)),
        "unreadable": float(len(problems)),
        "ms_per_picture": 1000 * seconds / len(answers) if answers else math.nan,
    }
    evaluation = Evaluation(
        model.task, dataset.classes, figures, per_class, confusion, curves, tuple(answers), tuple(problems)
    )
    if out is not None:
        from siseon import report  # here, because it builds on this file

        report.write(evaluation, dataset, Path(out))
    return evaluation


def validate(model: nn.Module, dataset: Dataset, *, batch: int = 8) -> dict[str, float]:
    """The few figures that choose the best epoch, the main one first; the same numbers for the same weights."""
    figures = evaluate(cast(Model, model), dataset, batch=batch).metrics
    return {name: figures[name] for name in CHOOSING if name in figures}


def options_of(task: Task, *, score: float, mirrored: bool) -> dict[str, Any]:
    """What `predict` of a model takes beside pictures."""
    if task == "detection":
        return {"score": score}
    return {"mirrored": True} if mirrored and task == "classification" else {}


def _split_of(data: Data, split: str) -> Dataset:
    return data.split(*{"test": ("test", "val"), "val": ("val", "test")}.get(split, (split,)))


def _translation(model: Model, dataset: Dataset) -> Callable[[Any], Prediction]:
    """A function that brings a prediction of the model to the classes of the data, by their names."""
    if model.task != dataset.task:
        remedy = f"Take a model of the task {dataset.task}; `siseon models --task {dataset.task}` lists them."
        raise DataError(f"The model does {model.task}, the data is for {dataset.task}", remedy)
    if model.classes == dataset.classes or model.task == "captioning":
        return lambda prediction: prediction
    known = {name: label for label, name in enumerate(dataset.classes)}
    labels = torch.tensor([known.get(name, -1) for name in model.classes])
    fits = bool((labels >= 0).any()) if model.task == "detection" else set(model.classes) == set(known)
    if not fits:
        raise DataError(
            f"The model knows the classes {_few(model.classes)}, the data has {_few(dataset.classes)}",
            "Evaluate on data with the same class names, or train on this data.",
        )

    def translate_detections(found: Detections) -> Detections:
        new = labels[found.labels]
        kept = new >= 0
        masks = None if found.masks is None else found.masks[kept]
        return Detections(found.boxes[kept], new[kept], found.scores[kept], dataset.classes, masks)

    def translate_classification(found: Classification) -> Classification:
        return Classification(torch.zeros(len(labels)).index_copy(0, labels, found.scores), dataset.classes)

    def translate_segmentation(found: Segmentation) -> Segmentation:
        return Segmentation(labels[found.labels], found.scores, dataset.classes)

    translations: dict[Task, Callable[[Any], Prediction]] = {
        "detection": translate_detections,
        "classification": translate_classification,
        "segmentation": translate_segmentation,
    }
    return translations[model.task]


Known = tuple[int, Annotation]
"""The number of a picture in its split, and what is known of it, with its map where there is one."""


def _batches(dataset: Dataset, batch: int) -> Iterator[tuple[list[Known], list[np.ndarray], list[Problem]]]:
    """What is known, and pictures, `batch` at a time, read ahead by two threads; and what could not be read."""
    with_maps = dataset.task == "segmentation" and isinstance(dataset, Maps)

    def read(number: int) -> tuple[np.ndarray, np.ndarray | None] | DataError | PictureError:
        try:
            return dataset.picture(number), dataset.semantic(number) if with_maps else None  # type: ignore[attr-defined]
        except (DataError, PictureError) as error:
            return error

    with ThreadPoolExecutor(2) as readers:
        waiting = deque(readers.submit(read, number) for number in range(min(2 * batch, len(dataset))))
        for first in range(0, len(dataset), batch):
            known: list[Known] = []
            pictures: list[np.ndarray] = []
            broken: list[Problem] = []
            for number in range(first, min(first + batch, len(dataset))):
                found = waiting.popleft().result()
                if number + 2 * batch < len(dataset):
                    waiting.append(readers.submit(read, number + 2 * batch))
                annotation = dataset.annotation(number)
                if isinstance(found, Exception):
                    broken.append(
                        Problem(annotation.name, found.problem.removeprefix(f"{annotation.path}: "), "passed over")
                    )
                else:
                    known.append((number, replace(annotation, semantic=found[1])))
                    pictures.append(found[0])
            yield known, pictures, broken


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _without_nan(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else round(value, 6) for name, value in figures.items()}


def _shown(name: str, value: float) -> str:
    if math.isnan(value):
        return "-"
    if name in ("pictures", "unreadable", "pixels") or name.startswith("objects"):
        return str(int(value))
    return f"{value:.1f}" if name == "ms_per_picture" else f"{value:.3f}"
