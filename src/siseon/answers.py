"""What a model said to the pictures of a split, and how each task judges it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import cv2
import numpy as np
import torch
from torch import Tensor

from siseon import language_metrics, metrics
from siseon.data.augment import areas_of, runs
from siseon.data.dataset import Annotation, Task
from siseon.interface import Caption, Classification, Detections, Prediction, Segmentation, Target
from siseon.language.vocabulary import words_of
from siseon.metrics import CocoScores, Curve, Masks, Runs


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
        return cast(np.ndarray, cv2.imdecode(np.frombuffer(self.found_map or b"", np.uint8), cv2.IMREAD_UNCHANGED))


Judgement = tuple[dict[str, float], dict[str, dict[str, float]], np.ndarray, dict[str, Curve]]


def _judge_detections(answers: list[Answer], classes: tuple[str, ...]) -> Judgement:
    predictions = [answer.prediction for answer in answers if isinstance(answer.prediction, Detections)]
    truths = [answer.target() for answer in answers]
    areas = [answer.areas for answer in answers]
    scores = metrics.coco_scores(predictions, truths, classes=classes, areas=areas)
    confusion = metrics.confusion_of_detections(predictions, truths, classes=len(classes))
    _add_mask_figures(scores, answers, classes)
    scores.figures.update(metrics.objects_by_size(truths, areas))
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


JUDGES: dict[Task, Callable[[list[Answer], tuple[str, ...]], Judgement]] = {
    "detection": _judge_detections,
    "classification": _judge_labels,
    "segmentation": _judge_maps,
    "captioning": _judge_captions,
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
