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

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor, nn

from siseon import language_metrics, metrics
from siseon.data.augment import runs
from siseon.data.dataset import Annotation, Data, Dataset, Problem, Segments, Task
from siseon.interface import Caption, Classification, DataError, Detections, PictureError, Prediction, Target
from siseon.language.vocabulary import words_of
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
    have masks; prediction and annotation are without, because masks that are not coded fill the memory.
    """

    index: int
    annotation: Annotation
    prediction: Prediction
    areas: Tensor
    found_masks: Sequence[Runs] | None = None
    true_masks: Sequence[Runs] | None = None

    @staticmethod
    def of(index: int, annotation: Annotation, prediction: Prediction) -> Answer:
        """The answer with its masks coded."""
        areas, found, true = _areas(annotation), None, None
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


@dataclass(frozen=True)
class Evaluation:
    """A model's answers to a split, and what they are worth.

    metrics: the main figure first ("AP50", "accuracy" or "CIDEr"), all 0..1 except CIDEr, 0..10, and pictures,
    unreadable and ms_per_picture, which is the time within `predict` in batches, reading the files not counted;
    "mask_AP50" and its like where model and data have masks. per_class: class -> figures, none for sentences.
    confusion: [truth, predicted], for detection with the background last, at score and overlap 0.5. curves: class ->
    precision against recall, of the boxes.
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
    options: dict[str, Any] = {"score": score} if model.task == "detection" else {}
    if mirrored and model.task == "classification":
        options = {"mirrored": True}
    answers: list[Answer] = []
    problems: list[Problem] = []
    seconds = 0.0
    done = 0
    for numbers, pictures, broken in _batches(dataset, batch):
        problems += broken
        if pictures:
            start = perf_counter()
            predictions = model.predict(pictures, batch=batch, **options)
            seconds += perf_counter() - start
            answers += [
                Answer.of(number, dataset.annotation(number), translate(prediction))
                for number, prediction in zip(numbers, predictions, strict=True)
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
    chosen += ("CIDEr", "BLEU4", "BLEU1", "exact")
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
        row[:] = cast(Classification, answer.prediction).scores
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


def _judge_captions(answers: list[Answer], classes: tuple[str, ...]) -> Judgement:
    """CIDEr, BLEU, and the share of sentences that are, but for case, one of the true ones."""
    answered = [answer for answer in answers if isinstance(answer.prediction, Caption) and answer.annotation.sentences]
    said = [cast(Caption, answer.prediction).text for answer in answered]
    true = [[text for group in answer.annotation.sentences.values() for text in group] for answer in answered]
    exact = [words_of(one) in map(words_of, others) for one, others in zip(said, true, strict=True)]
    figures = {
        "CIDEr": language_metrics.cider(said, true),
        **{f"BLEU{length}": value for length, value in enumerate(language_metrics.bleu(said, true), 1)},
        "exact": float(np.mean(exact)) if exact else math.nan,
    }
    return figures, {}, np.zeros((0, 0), np.int64), {}


JUDGES: Mapping[Task, Callable[[list[Answer], tuple[str, ...]], Judgement]] = {
    "classification": _judge_labels,
    "detection": _judge_detections,
    "captioning": _judge_captions,
}
"""Task -> what compares the answers with the truth."""


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
    fits = set(model.classes) == set(known) if model.task == "classification" else bool((labels >= 0).any())
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

    return translate_detections if model.task == "detection" else translate_classification


def _batches(dataset: Dataset, batch: int) -> Iterator[tuple[list[int], list[np.ndarray], list[Problem]]]:
    """Numbers and pictures, `batch` at a time, read ahead by two threads; and what could not be read among them."""

    def read(number: int) -> np.ndarray | PictureError:
        try:
            return dataset.picture(number)
        except PictureError as error:
            return error

    with ThreadPoolExecutor(2) as readers:
        waiting = deque(readers.submit(read, number) for number in range(min(2 * batch, len(dataset))))
        for first in range(0, len(dataset), batch):
            numbers, pictures, broken = [], [], []
            for number in range(first, min(first + batch, len(dataset))):
                picture = waiting.popleft().result()
                if number + 2 * batch < len(dataset):
                    waiting.append(readers.submit(read, number + 2 * batch))
                if isinstance(picture, PictureError):
                    broken.append(Problem(dataset.annotation(number).name, picture.problem, "passed over"))
                else:
                    numbers.append(number)
                    pictures.append(picture)
            yield numbers, pictures, broken


def _areas(annotation: Annotation) -> Tensor:
    """The area of each object in pixels: of its shape where the data has one, as COCO counts, else of its box."""
    boxes = annotation.boxes.astype(np.float64)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for row, segments in enumerate(annotation.segments):
        areas[row] = _area_of(segments) or areas[row]
    return torch.from_numpy(areas)


def _area_of(segments: Segments) -> float:
    if isinstance(segments, np.ndarray):
        return float(np.count_nonzero(segments))
    # the shoelace formula, polygon by polygon
    return sum(abs(float(np.sum(x * np.roll(y, 1) - y * np.roll(x, 1)))) / 2 for x, y in (part.T for part in segments))


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _without_nan(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else round(value, 6) for name, value in figures.items()}


def _shown(name: str, value: float) -> str:
    if math.isnan(value):
        return "-"
    if name in ("pictures", "unreadable", "objects"):
        return str(int(value))
    return f"{value:.1f}" if name == "ms_per_picture" else f"{value:.3f}"
