"""How good predictions are: COCO's average precision, precision against recall, confusion, accuracy, IoU of pixels.

Detection is scored by faster-coco-eval, which repeats COCO's own program figure for figure; the rest is a little
NumPy. A figure that has no meaning (the AP of a class of which there is no object) is nan, never -1 and never 0.

Shapes  thresholds: the 10 overlaps 0.50, 0.55 .. 0.95; recalls: the 101 steps 0.00, 0.01 .. 1.00.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from faster_coco_eval import COCO, COCOeval_faster
from faster_coco_eval.core import mask as runs_code
from jaxtyping import Bool, Float, Int64, Integer, UInt8
from torch import Tensor

from siseon.boxes.geometry import overlap
from siseon.interface import VOID, Detections, Target

Array = np.ndarray
ALL, SMALL, MEDIUM, LARGE = range(4)
"""COCO's ranges of object area: any, below 32^2, 32^2 to 96^2, above 96^2 pixels."""

RANGES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Least and greatest area of each of them, in pixels."""

Runs: TypeAlias = "dict[str, Any]"
"""COCO's run-length code of a mask: {"size": [height, width], "counts": bytes}."""


class Masks(NamedTuple):
    """The masks of one picture, run-length coded, for a hundred of them fill more memory than the network."""

    found: Sequence[Runs]
    """Of the detections, in their order."""
    true: Sequence[Runs]
    """Of the true objects, in their order."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Precision against recall of one class at overlap 0.5, made monotonic as COCO does.

    recalls, precisions, scores: [101]; scores[i] is the threshold at which recalls[i] is reached. Precisions are 0
    where a recall is never reached, and all nan where the class has no object.
    """

    recalls: Float[Array, " recalls"]
    precisions: Float[Array, " recalls"]
    scores: Float[Array, " recalls"]


@dataclass(frozen=True, slots=True)
class CocoScores:
    """COCO's twelve figures, 0..1 or nan, and those of each class in the order of the classes.

    figures: AP50, AP, AP75, AP_small, AP_medium, AP_large, AR1, AR10, AR100, AR_small, AR_medium, AR_large. AP is the
    mean over the overlaps 0.50..0.95; AR10 the recall with at most ten detections a picture. per_class: AP50, AP,
    AR100, objects.
    """

    figures: dict[str, float]
    per_class: dict[str, dict[str, float]]
    curves: dict[str, Curve]


def coco_scores(
    predictions: Sequence[Detections],
    truths: Sequence[Target],
    *,
    classes: Sequence[str],
    areas: Sequence[Float[Tensor, " _"]] | None = None,
    masks: Sequence[Masks] | None = None,
) -> CocoScores:
    """Score the detections of each picture against its true objects, exactly as COCO's evaluation does.

    predictions[i] and truths[i] belong to the same picture, in the same pixels. A crowd is COCO's iscrowd: what lies
    in it is neither right nor wrong. areas[i] are the areas of the objects of picture i in pixels, where they are
    known better than by their boxes (COCO takes those of the masks); they only decide what is small, medium and
    large. masks[i]: those of picture i; with them the overlap is that of the masks, not of the boxes. Source:
    cocodataset.org, Detection evaluation; Lin et al. 2014, arXiv:1405.0312.
    """
    accumulated = _accumulate(predictions, truths, classes, areas, masks)
    precision, recall = accumulated["precision"], accumulated["recall"]
    figures = {
        "AP50": _mean(precision[0, :, :, ALL, -1]),
        "AP": _mean(precision[:, :, :, ALL, -1]),
        "AP75": _mean(precision[5, :, :, ALL, -1]),
        "AP_small": _mean(precision[:, :, :, SMALL, -1]),
        "AP_medium": _mean(precision[:, :, :, MEDIUM, -1]),
        "AP_large": _mean(precision[:, :, :, LARGE, -1]),
        "AR1": _mean(recall[:, :, ALL, 0]),
        "AR10": _mean(recall[:, :, ALL, 1]),
        "AR100": _mean(recall[:, :, ALL, 2]),
        "AR_small": _mean(recall[:, :, SMALL, -1]),
        "AR_medium": _mean(recall[:, :, MEDIUM, -1]),
        "AR_large": _mean(recall[:, :, LARGE, -1]),
    }
    objects = sum(
        (np.bincount(_real_labels(truth), minlength=len(classes)) for truth in truths), np.zeros(len(classes))
    )
    per_class = {
        name: {
            "AP50": _mean(precision[0, :, label, ALL, -1]),
            "AP": _mean(precision[:, :, label, ALL, -1]),
            "AR100": _mean(recall[:, label, ALL, -1]),
            "objects": float(objects[label]),
        }
        for label, name in enumerate(classes)
    }
    recalls = np.linspace(0, 1, precision.shape[1])
    curves = {
        name: Curve(
            recalls,
            *(_without_minus_one(values[0, :, label, ALL, -1]) for values in (precision, accumulated["scores"])),
        )
        for label, name in enumerate(classes)
    }
    return CocoScores(figures, per_class, curves)


def objects_by_size(truths: Sequence[Target], areas: Sequence[Float[Tensor, " _"]]) -> dict[str, float]:
    """How many true objects stand behind AP_small, AP_medium and AP_large: objects_small and so on, crowds left out.

    areas[i]: those of the objects of picture i in pixels. As in COCO's program, one of just 32^2 or 96^2 is of both.
    """
    known = [size[~truth.crowd] for truth, size in zip(truths, areas, strict=True)]
    sizes = torch.cat(known).double() if known else torch.zeros(0)
    return {
        f"objects_{name}": float(((sizes >= least) & (sizes <= most)).sum()) for name, (least, most) in RANGES.items()
    }


def confusion_of_detections(
    predictions: Sequence[Detections],
    truths: Sequence[Target],
    *,
    classes: int,
    score: float = 0.5,
    least_overlap: float = 0.5,
) -> Int64[Array, "truth predicted"]:
    """Count what each true object was taken for: [classes + 1, classes + 1], row truth, column prediction.

    The last row and column are the background. Detections with at least `score` are taken best first; each takes the
    free object, of whatever class, that it overlaps most, if by `least_overlap` or more. Objects left over count in
    the last column, detections left over in the last row, unless at least that share of the detection lies in a
    crowd.
    """
    matrix = np.zeros((classes + 1, classes + 1), np.int64)
    for detections, truth in zip(predictions, truths, strict=True):
        for true_label, predicted_label in _pairs(detections.above(score), truth, least_overlap, classes):
            matrix[true_label, predicted_label] += 1
    return matrix


def confusion_of_labels(
    predicted: Int64[Tensor, " pictures"], labels: Int64[Tensor, " pictures"], *, classes: int
) -> Int64[Array, "truth predicted"]:
    """Count what pictures of each class were taken for: [classes, classes], row truth, column prediction."""
    pairs = (labels * classes + predicted).numpy()
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def confusion_of_maps(
    predicted: Integer[Array, "height width"], truth: UInt8[Array, "height width"], *, classes: int
) -> Int64[Array, "truth predicted"]:
    """Count what the pixels of each class were taken for: [classes, classes], row truth, column prediction.

    Pixels whose truth is VOID are left out.
    """
    known = truth != VOID
    pairs = truth[known].astype(np.int64) * classes + predicted[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def segmentation_figures(matrix: Int64[Array, "truth predicted"]) -> dict[str, float]:
    """mean_IoU, pixel_accuracy, mean_accuracy and frequency_IoU of a confusion of pixels, 0..1 or nan.

    FCN's section 5 (Long et al. 2015, arXiv:1411.4038): the mean over the classes of `class_overlaps`, the share of the
    right pixels, the mean over the classes of that share, and the IoU of each class weighted by its true pixels.
    Classes that are neither true nor predicted anywhere are left out of the means.
    """
    overlaps, accuracies = class_overlaps(matrix)
    true = matrix.sum(1)
    seen = true > 0
    total = int(true.sum())
    nan = float("nan")
    return {
        "mean_IoU": float(np.nanmean(overlaps)) if np.isfinite(overlaps).any() else nan,
        "pixel_accuracy": float(np.diag(matrix).sum() / total) if total else nan,
        "mean_accuracy": float(accuracies[seen].mean()) if total else nan,
        "frequency_IoU": float((true[seen] * overlaps[seen]).sum() / total) if total else nan,
    }


def class_overlaps(
    matrix: Int64[Array, "truth predicted"],
) -> tuple[Float[Array, " classes"], Float[Array, " classes"]]:
    """IoU and accuracy of each class of a confusion: right / (true + predicted - right), and right / true; or nan."""
    right, predicted, true = np.diag(matrix), matrix.sum(0), matrix.sum(1)
    return _ratio(right, true + predicted - right), _ratio(right, true)


def top_k(scores: Float[Tensor, "pictures classes"], labels: Int64[Tensor, " pictures"], *, count: int) -> float:
    """The share of pictures whose true class is among the `count` best scores, 0..1; nan without pictures."""
    best = scores.topk(min(count, scores.shape[1]), dim=1).indices
    return (best == labels[:, None]).any(dim=1).float().mean().item()


def precision_recall_f1(matrix: Int64[Array, "truth predicted"]) -> Float[Array, "classes 3"]:
    """Precision, recall and their harmonic mean of each class of a confusion matrix [classes, classes].

    Precision is nan for a class that was never predicted, recall for one without pictures. F1 is 2 right / (predicted +
    true), so 0 where one of the two is nan, and nan where both are.
    """
    right, predicted, true = np.diag(matrix), matrix.sum(0), matrix.sum(1)
    return np.stack([_ratio(right, predicted), _ratio(right, true), _ratio(2 * right, predicted + true)], axis=1)


def _accumulate(
    predictions: Sequence[Detections],
    truths: Sequence[Target],
    classes: Sequence[str],
    areas: Sequence[Tensor] | None,
    masks: Sequence[Masks] | None,
) -> dict[str, Any]:
    """COCO's arrays: precision, scores [thresholds, recalls, classes, areas, limits]; recall has no axis of recalls."""
    objects = _true_annotations(truths, areas)
    results = [entry for picture, found in enumerate(predictions) for entry in coco_results(found, picture + 1)]
    if masks is not None:
        _judge_by(masks, objects, results)
    truth = COCO(
        {
            # The size is asked for with every mask; the masks have their own.
            "images": [{"id": picture + 1, "height": 0, "width": 0} for picture in range(len(truths))],
            "categories": [{"id": label + 1, "name": name} for label, name in enumerate(classes)],
            "annotations": [{"id": number + 1, **entry} for number, entry in enumerate(objects)],
        }
    )
    evaluation = COCOeval_faster(truth, truth.loadRes(results), iouType="bbox" if masks is None else "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    return dict(evaluation.eval)


def coco_results(detections: Detections, picture: int) -> list[dict[str, Any]]:
    """The detections of one picture in COCO's results format; category ids count from 1 in the order of the classes."""
    sides = _left_top_width_height(detections.boxes)
    rows = zip(detections.labels.tolist(), detections.scores.tolist(), sides.tolist(), strict=True)
    return [{"image_id": picture, "category_id": label + 1, "bbox": box, "score": score} for label, score, box in rows]


def _judge_by(masks: Sequence[Masks], objects: list[dict[str, Any]], results: list[dict[str, Any]]) -> None:
    """Give true objects and results their masks; without its box, a result's area too is that of its mask."""
    for entries, codes in (
        (objects, [code for picture in masks for code in picture.true]),
        (results, [code for picture in masks for code in picture.found]),
    ):
        for entry, code in zip(entries, codes, strict=True):
            entry["segmentation"] = code
    for entry in results:
        del entry["bbox"]


def run_lengths(masks: Bool[Tensor, "objects height width"]) -> list[Runs]:
    """The masks as COCO's run-length codes."""
    return [runs_code.encode(np.asfortranarray(mask, np.uint8)) for mask in masks.numpy()]


def decoded(codes: Sequence[Runs]) -> Bool[Tensor, "objects height width"]:
    """The masks of run-length codes of one size; [0, 0, 0] of none."""
    masks = [runs_code.decode(code) for code in codes]
    return torch.from_numpy(np.stack(masks).astype(bool)) if masks else torch.zeros(0, 0, 0, dtype=torch.bool)


def _true_annotations(truths: Sequence[Target], areas: Sequence[Tensor] | None) -> list[dict[str, Any]]:
    entries = []
    for picture, truth in enumerate(truths):
        sides = _left_top_width_height(truth.boxes)
        sizes = sides[:, 2] * sides[:, 3] if areas is None else areas[picture]
        rows = zip(truth.labels.tolist(), truth.crowd.tolist(), sides.tolist(), sizes.tolist(), strict=True)
        entries += [
            {"image_id": picture + 1, "category_id": label + 1, "bbox": box, "area": size, "iscrowd": int(crowd)}
            for label, crowd, box, size in rows
        ]
    return entries


def _pairs(detections: Detections, truth: Target, least: float, background: int) -> list[tuple[int, int]]:
    """(true label, predicted label) of every object and detection of one picture."""
    real = ~truth.crowd
    labels = truth.labels[real].tolist()
    overlaps = overlap(detections.boxes, truth.boxes[real])
    in_crowd = _covered(detections.boxes, truth.boxes[truth.crowd]) >= least
    pairs, free = [], list(range(len(labels)))
    for index in detections.scores.argsort(descending=True, stable=True).tolist():
        row = overlaps[index].tolist()
        best = max(free, key=row.__getitem__, default=None)
        predicted = int(detections.labels[index])
        if best is not None and row[best] >= least:
            free.remove(best)
            pairs.append((labels[best], predicted))
        elif not in_crowd[index]:
            pairs.append((background, predicted))
    return pairs + [(labels[missed], background) for missed in free]


def _covered(boxes: Tensor, crowds: Tensor) -> Tensor:
    """The share of each box that its most covering crowd covers, [boxes]; 0 without crowds."""
    if not len(crowds) or not len(boxes):
        return boxes.new_zeros(len(boxes))
    corner = boxes[:, None, :2].maximum(crowds[:, :2])
    opposite = boxes[:, None, 2:].minimum(crowds[:, 2:])
    shared = (opposite - corner).clamp(min=0).prod(dim=2)
    return (shared / (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).clamp(min=1e-9)[:, None]).amax(dim=1)


def _left_top_width_height(boxes: Tensor) -> Tensor:
    wide = boxes.double()  # COCO's program computes in double precision
    wide[:, 2:] -= wide[:, :2]
    return wide


def _real_labels(truth: Target) -> Array:
    return truth.labels[~truth.crowd].numpy()


def _mean(values: Array) -> float:
    """The mean without COCO's -1, which stands for "no such object"."""
    known = values[values > -1]
    return float(known.mean()) if known.size else float("nan")


def _without_minus_one(values: Array) -> Array:
    return np.where(values > -1, values, np.nan)


def _ratio(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
