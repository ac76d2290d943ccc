"""What an evaluation leaves behind: figures and predictions as JSON, curves, the confusion, and pictures to look at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from siseon import drawing, metrics, pictures
from siseon.answers import Answer
from siseon.data.dataset import Dataset, Maps
from siseon.evaluation import Evaluation
from siseon.interface import Caption, Classification, Detections, Segmentation
from siseon.language.vocabulary import words_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SURE = 0.5
"""The score from which a detection is drawn and can be a mistake."""
SHOWN = 12
"""How many pictures a sheet shows."""


def write(evaluation: Evaluation, dataset: Dataset, out: Path) -> None:
    """Write the report into the folder `out`, which is made where it is missing.

    metrics.json; predictions.json (detection: COCO's results format, image ids from 1 in the order of the split, with
    the picture's name beside; segmentation: the share of each class); confusion.png (not of sentences);
    precision_recall.png (detection); examples.png, the first pictures of the split, and worst.png, those with the most
    mistakes, truth above prediction.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_json(evaluation.to_json(), out / "metrics.json")
    write_json(predictions(evaluation), out / "predictions.json")
    if evaluation.task != "captioning":
        plot_confusion(evaluation, out / "confusion.png")
    if evaluation.curves:
        plot_curves(evaluation, out / "precision_recall.png")
    worst = sorted(filter(mistakes, evaluation.answers), key=mistakes, reverse=True)
    write_sheet(evaluation.answers[:SHOWN], dataset, out / "examples.png")
    write_sheet(worst[:SHOWN], dataset, out / "worst.png")


def write_json(content: object, path: Path) -> None:
    """Write a file of JSON that a person can read too, Hangul as it is."""
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def predictions(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The predictions of all pictures: COCO's results, the five best classes, or the share that each class covers."""
    rows: list[dict[str, Any]] = []
    for answer in evaluation.answers:
        name = answer.annotation.name
        if isinstance(answer.prediction, Detections):
            results = metrics.coco_results(answer.prediction, answer.index + 1)
            for result, runs in zip(results, answer.found_masks or (), strict=False):
                result["segmentation"] = {**runs, "counts": runs["counts"].decode()}
            rows += [{**result, "file_name": name} for result in results]
        elif isinstance(answer.prediction, Segmentation):
            labels = torch.from_numpy(answer.found_labels())
            shares = Segmentation(labels.long(), labels, answer.prediction.classes).to_json()
            rows.append({"file_name": name, "shares": shares})
        elif isinstance(answer.prediction, Caption):
            rows.append({"file_name": name, **answer.prediction.to_json()})
        else:
            rows.append({"file_name": name, "classes": answer.prediction.to_json()})
    return rows


def mistakes(answer: Answer) -> float:
    """How wrong an answer is: objects missed plus objects found wrongly; for a class, the score of the wrong one.

    For a map, the share of the known pixels that are wrong; for a sentence, how surely one is said that is not true.
    """
    if answer.pixels is not None:
        return 1 - float(np.trace(answer.pixels)) / max(int(answer.pixels.sum()), 1)
    if isinstance(answer.prediction, Caption):
        true = [words_of(text) for group in answer.annotation.sentences.values() for text in group]
        return 0.0 if words_of(answer.prediction.text) in true else answer.prediction.score
    if isinstance(answer.prediction, Classification):
        score, label = answer.prediction.scores.max(0)
        return 0.0 if int(label) == answer.annotation.label else float(score)
    found = cast(Detections, answer.prediction)
    matrix = metrics.confusion_of_detections([found], [answer.target()], classes=len(found.classes), score=SURE)
    return float(matrix.sum() - np.trace(matrix))


def write_sheet(answers: Sequence[Answer], dataset: Dataset, path: Path) -> None:
    """A sheet of answers: truth and prediction side by side, or each picture with its classes; no sheet of none."""
    path.unlink(missing_ok=True)
    if any(answer.found_map for answer in answers):
        return _write_maps(answers, dataset, path)
    tiles, captions = [], []
    for answer in answers:
        picture, prediction, name = dataset.picture(answer.index), answer.prediction, answer.annotation.name
        if isinstance(prediction, Caption):
            tiles.append(picture)
            captions.append(f"{prediction.text} {prediction.score:.2f}")
        elif isinstance(prediction, Classification):
            label = answer.annotation.label
            found, score = prediction.top(1)[0]
            tiles.append(picture)
            captions.append(f"{'?' if label is None else prediction.classes[label]} \u2192 {found} {score:.2f}")
        else:
            truth, objects = answer.drawable()
            tiles += [drawing.draw_truth(picture, truth), drawing.draw(picture, objects.above(SURE))]
            captions += [f"{name}: truth", "found"]
    if tiles:
        pictures.write(drawing.contact_sheet(tiles, captions, columns=4), path)


def _write_maps(answers: Sequence[Answer], dataset: Dataset, path: Path) -> None:
    """A sheet of maps over their pictures, truth beside prediction, with the colours of all classes below."""
    assert isinstance(dataset, Maps)
    tiles, captions = [], []
    for answer in answers:
        picture, name = dataset.picture(answer.index), answer.annotation.name
        for labels in (dataset.semantic(answer.index), answer.found_labels()):
            tiles.append(drawing.tinted(picture, labels, dataset.classes))
        captions += [f"{name}: truth", f"found, {1 - mistakes(answer):.0%} right"]
    sheet = drawing.contact_sheet(tiles, captions, columns=4)
    entries = [(drawing.swatch(label, name), name) for label, name in enumerate(dataset.classes)]
    pictures.write(np.concatenate([sheet, drawing.legend(entries, sheet.shape[1], letters=22)]), path)


def plot_curves(evaluation: Evaluation, path: Path) -> None:
    """Precision against recall of each class at overlap 0.5; a class without objects has none."""
    figure = _figure(7, 5)
    axes = figure.add_subplot()
    for name, curve in evaluation.curves.items():
        if np.isfinite(curve.precisions).all():
            value = evaluation.per_class[name]["AP50"]
            axes.plot(curve.recalls, curve.precisions, label=f"{name}  {value:.2f}")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.set_title(f"AP50 {evaluation.metrics['AP50']:.3f}")
    axes.grid(alpha=0.3)
    if 0 < len(axes.lines) <= 30:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, ncols=1 + (len(axes.lines) > 18))
    _save(figure, path)


def plot_confusion(evaluation: Evaluation, path: Path) -> None:
    """The confusion, each row as shares of its sum; the counts stand in the cells where they can be read."""
    counts = evaluation.confusion
    names = [*evaluation.classes, *(["(background)"] if evaluation.task == "detection" else [])]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(max(4.0, 1.5 + 0.45 * len(names)), 16.0)
    figure = _figure(side, side)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(names) <= 60:
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
    if len(names) <= 30:
        _write_counts(axes, counts, shares, in_percent=evaluation.task == "segmentation")
    axes.set(xlabel="predicted", ylabel="truth")
    _save(figure, path)


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray, *, in_percent: bool) -> None:
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = "white" if shares[row, column] > 0.5 else "black"
        text = f"{shares[row, column]:.0%}" if in_percent else str(counts[row, column])
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)


def _figure(width: float, height: float) -> Figure:
    """A figure of width x height inches that belongs to no window, with a font that has Hangul."""
    from matplotlib.figure import Figure

    drawing.use_hangul_in_plots()
    return Figure((width, height), layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=120)
