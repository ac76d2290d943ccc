"""How well a model does on a data set: its predictions against the truth, as figures, a table and pictures.

Pictures are predicted at their own size and judged in their own pixels, in the order of the data. One that cannot be
read is passed over, named and counted. Everything that is written says which picture it is about.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol, cast

import cv2
import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor, nn

from siseon import metrics
from siseon.data.augment import areas_of, runs
from siseon.data.dataset import Annotation, Data, Dataset, Maps, Problem, Task
from siseon.interface import Classification, DataError, Detections, PictureError, Prediction, Segmentation, Target
from siseon.metrics import CocoScores, Curve, Masks, Runs


class Model(Protocol):
    """What evaluation needs of a model."""

    task: Task
    classes: tuple[str, ...]
    predict: Callable[..., list[Prediction]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said to one picture: its number in the split, what is known of it, and the prediction.

    areas [objects]: of the true objects, in pixels. found_masks, true_masks: as run-length codes, where model and data
    have masks; prediction and annotation are without, because masks that are not coded fill the memory. found_map: the
    labels of a Segmentation as a PNG, of which the prediction is without; pixels: the confusion of this picture's.
    """

    index: int
    annotation: Annotation
    prediction: Prediction
    areas: Tensor
    found_masks: Sequence[Runs] | None = None
    true_masks: Sequence[Runs] | None = None
    found_map: bytes | None = None
    pixels: np.ndarray | None = None

    @staticmethod
    def of(index: int, annotation: Annotation, prediction: Prediction) -> Answer:
        """The answer with its masks or its map coded."""
        if isinstance(prediction, Segmentation):
            return _answer_of_map(index, annotation, prediction)
        areas, found, true = torch.from_numpy(areas_of(annotation)), None, None
        if isinstance(prediction, Detections) and prediction.masks is not None:
            found = metrics.run_lengths(prediction.masks)
            if len(annotation.segments) == len(annotation.boxes):
                height, width = prediction.masks.shape[1:]
                true = [runs(segments, (height, width)) for segments in annotation.segments]
            prediction = replace(prediction, masks=None)
        return Answer(index, replace(annotation, segments=()), prediction, areas, found, true)

    def target(self) -> Target:
        """The true objects in the pixels of the picture, without masks."""
        known = self.annotation
        return Target(torch.from_numpy(known.boxes), torch.from_numpy(known.labels), torch.from_numpy(known.crowd))

    def drawable(self) -> tuple[Detections, Detections]:
        """Truth, each object with score 1, and prediction, both with their masks where they are known."""
        target, found = self.target(), cast(Detections, self.prediction)
        truth = Detections(target.boxes, target.labels, torch.ones(len(target.labels)), found.classes)
        if self.true_masks is not None:
            truth = replace(truth, masks=metrics.decoded(self.true_masks))
        if self.found_masks is not None:
            found = replace(found, masks=metrics.decoded(self.found_masks))
        return truth, found

    def found_labels(self) -> np.ndarray:
        """The labels that a segmenter gave, [height, width] uint8."""
        code = np.frombuffer(self.found_map or b"", np.uint8)
        return np.asarray(cv2.imdecode(code, cv2.IMREAD_UNCHANGED))


@dataclass(frozen=True)
class Evaluation:
    """A model's answers to a split, and what they are worth.

    metrics: the main figure first ("AP50", "accuracy" or "mean_IoU"), all 0..1 except pictures, unreadable and
    ms_per_picture, which is the time within `predict` in batches, reading the files not counted; "mask_AP50" and its
    like where model and data have masks. per_class: class -> figures. confusion: [truth, predicted], for detection
    with the background last, at score and overlap 0.5; for segmentation of pixels. curves: class -> precision against
    recall, of the boxes.
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
        columns = list(next(iter(self.per_class.values()), {}))
        classes = Table("class", *columns, box=box.SIMPLE_HEAD)
        for column in classes.columns[1:]:
            column.justify = "right"
        for name, figures in self.per_class.items():
            classes.add_row(escape(name), *(_shown(column, figures[column]) for column in columns))
        text = StringIO()
        Console(file=text, width=100, no_color=True).print(whole, classes)
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
    chosen: tuple[str, ...] = ("AP50", "AP", "AP75", "AR100", "mask_AP50", "mask_AP", "accuracy", "top5", "macro_F1")
    chosen += ("mean_IoU", "pixel_accuracy", "mean_accuracy")
    figures = evaluate(cast(Model, model), dataset, batch=batch).metrics
    return {name: figures[name] for name in chosen if name in figures}


Judgement = tuple[dict[str, float], dict[str, dict[str, float]], np.ndarray, dict[str, Curve]]


def _judge_detections(answers: list[Answer], classes: tuple[str, ...]) -> Judgement:
    predictions = [answer.prediction for answer in answers if isinstance(answer.prediction, Detections)]
    truths = [answer.target() for answer in answers]
    areas = [answer.areas for answer in answers]
    scores = metrics.coco_scores(predictions, truths, classes=classes, areas=areas)
    confusion = metrics.confusion_of_detections(predictions, truths, classes=len(classes))
    _add_mask_figures(scores, answers, classes)
    return scores.figures, scores.per_class, confusion, scores.curves


def _add_mask_figures(scores: CocoScores, answers: list[Answer], classes: tuple[str, ...]) -> None:
    """Beside each AP of the boxes that of the masks, over the pictures where model and data have them."""
    masked = [
        (answer, Masks(answer.found_masks, answer.true_masks))
        for answer in answers
        if answer.found_masks is not None and answer.true_masks is not None
    ]
    if not any(masks.true for _, masks in masked):
        return
    by_mask = metrics.coco_scores(
        [cast(Detections, answer.prediction) for answer, _ in masked],
        [answer.target() for answer, _ in masked],
        classes=classes,
        areas=[answer.areas for answer, _ in masked],
        masks=[masks for _, masks in masked],
    )
    scores.figures.update({f"mask_{name}": value for name, value in by_mask.figures.items() if name.startswith("AP")})
    for name, figures in scores.per_class.items():
        figures.update({f"mask_{key}": by_mask.per_class[name][key] for key in ("AP50", "AP")})


def _judge_labels(answers: list[Answer], classes: tuple[str, ...]) -> Judgement:
    answered = [a for a in answers if isinstance(a.prediction, Classification) and a.annotation.label is not None]
    scores = torch.zeros(len(answered), len(classes))
    for row, answer in zip(scores, answered, strict=True):
        row[:] = answer.prediction.scores
    labels = torch.tensor([answer.annotation.label for answer in answered], dtype=torch.int64)
    confusion = metrics.confusion_of_labels(scores.argmax(1), labels, classes=len(classes))
    figures = metrics.precision_recall_f1(confusion)
    pictures = confusion.sum(1)
    per_class = {
        name: {**dict(zip(("precision", "recall", "F1"), row, strict=True)), "pictures": float(count)}
        for name, row, count in zip(classes, figures.tolist(), pictures.tolist(), strict=True)
    }
    # a class that was never predicted has no precision; in the mean over the classes it counts 0
    means = np.nan_to_num(figures[pictures > 0]).mean(0) if len(answered) else np.full(3, np.nan)
    whole = {
        "accuracy": metrics.top_k(scores, labels, count=1),
        "top5": metrics.top_k(scores, labels, count=5),
        **dict(zip(("macro_precision", "macro_recall", "macro_F1"), means.tolist(), strict=True)),
    }
    return whole, per_class, confusion, {}


def _judge_maps(answers: list[Answer], classes: tuple[str, ...]) -> Judgement:
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    for answer in answers:
        confusion += 0 if answer.pixels is None else answer.pixels
    rows = zip(classes, *metrics.class_overlaps(confusion), confusion.sum(1), strict=True)
    per_class = {
        name: {"IoU": float(iou), "accuracy": float(accuracy), "pixels": float(pixels)}
        for name, iou, accuracy, pixels in rows
    }
    return metrics.segmentation_figures(confusion), per_class, confusion, {}


JUDGES: dict[Task, Callable[[list[Answer], tuple[str, ...]], Judgement]] = {
    "detection": _judge_detections,
    "classification": _judge_labels,
    "segmentation": _judge_maps,
}


def _answer_of_map(index: int, annotation: Annotation, prediction: Segmentation) -> Answer:
    found = prediction.labels.to(torch.uint8).numpy()
    assert annotation.semantic is not None
    pixels = metrics.confusion_of_maps(found, annotation.semantic, classes=len(prediction.classes))
    code = cv2.imencode(".png", found)[1].tobytes()
    nothing = torch.zeros(0, 0)
    empty = Segmentation(nothing.long(), nothing, prediction.classes)
    known = replace(annotation, semantic=None)
    return Answer(index, known, empty, torch.zeros(0), found_map=code, pixels=pixels)


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
    if model.classes == dataset.classes:
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
                    broken.append(Problem(annotation.name, found.problem, "passed over"))
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
    if name in ("pictures", "unreadable", "objects", "pixels"):
        return str(int(value))
    return f"{value:.1f}" if name == "ms_per_picture" else f"{value:.3f}"
