"""The figures of the race as a table: which, how they are written, which is best; and all of them as CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from io import StringIO

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from siseon.comparison.kinds import KINDS
from siseon.comparison.result import Comparison, Result
from siseon.comparison.words import COLUMNS, HEADINGS, STAGES, Text

OBJECTS = ("objects_small", "objects_medium", "objects_large")
HIGHER = (*(name for kind in KINDS.values() for name in kind.figures), "AP75")
LOWER = ("milliseconds", "parameters", "macs", "weights", "peak")


def columns(comparison: Comparison) -> tuple[str, ...]:
    """The figures that the tables show: those that any model has."""
    names = (*KINDS[comparison.task].figures, *LOWER, "epochs", "seconds")
    return tuple(name for name in names if any(math.isfinite(value(result, name)) for result in comparison.results))


def heading(comparison: Comparison, column: str) -> Text:
    """What stands over a column; with the number of objects where the figure is of a size of them."""
    said, count = COLUMNS[column], objects(comparison.results, column)
    if not math.isfinite(count):
        return said
    return Text(f"{said.en} ({count:,.0f})", f"{said.ko}({count:,.0f}개)")


def objects(results: Sequence[Result], column: str) -> float:
    """How many true objects an AP by size is of; nan for other figures. All models are judged by the same."""
    counts = (result.figure(column.replace("AP_", "objects_")) for result in results if column.startswith("AP_"))
    return next((count for count in counts if math.isfinite(count)), math.nan)


def stages_of(comparison: Comparison) -> list[str]:
    """The stages that any model has, in the order in which they are drawn."""
    return [name for name in STAGES if any(name in result.stages for result in comparison.results)]


def classes_of(comparison: Comparison) -> list[str]:
    """The classes of which any model has a figure."""
    return [
        name
        for name in comparison.classes
        if any(math.isfinite(result.of_class(name)) for result in comparison.finished)
    ]


def best_of_class(comparison: Comparison, name: str) -> float:
    """The best figure of a class; nan where none is better than another."""
    return highest(result.of_class(name) for result in comparison.finished)


def highest(numbers: Iterable[float]) -> float:
    """The highest of the finite numbers; nan where they are fewer than two, or all the same."""
    known = [number for number in numbers if math.isfinite(number)]
    return max(known) if len(set(known)) > 1 else math.nan


def value(result: Result, column: str) -> float:
    """The figure of a column; nan where there is none."""
    known = {
        "milliseconds": result.milliseconds,
        "parameters": float(result.parameters or math.nan),
        "macs": result.macs,
        "weights": result.weights,
        "peak": result.peak,
        "epochs": float(result.epochs or math.nan),
        "seconds": float(result.seconds or math.nan),
    }
    return known[column] if column in known else result.figure(column)


def shown(column: str, number: float) -> str:
    """A figure as people read it: 0.812, 6.1, 4.1 M, 1.23 G; a dash where there is none."""
    if not math.isfinite(number):
        return "–"
    if column in HIGHER:
        return f"{number:.3f}"
    if column in ("parameters", "macs"):
        size, unit = next(
            ((size, unit) for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if number >= size), (1, "")
        )
        return f"{number / size:.3g} {unit}".strip()
    if column == "peak" and number < 1:
        return "< 1"  # the system counts in pages, and not each at once
    if column in ("epochs", "seconds"):
        return f"{number:,.0f}"
    return f"{number:,.{2 if number < 1 else 1 if number < 100 else 0}f}"


def best(comparison: Comparison, column: str) -> float:
    """The best figure of a column among those that finished; nan where none is better than another."""
    numbers = [value(result, column) for result in comparison.finished]
    if column in HIGHER:
        return highest(numbers)
    return -highest(-number for number in numbers) if column in LOWER else math.nan


def text(comparison: Comparison) -> str:
    """The most telling figures for a terminal."""
    left_out = ("AP_medium", "mean_accuracy", "weights", "peak", "seconds")
    names = [name for name in columns(comparison) if name not in left_out]
    rows = [(result.model, *(shown(name, value(result, name)) for name in names)) for result in comparison.results]
    page = StringIO()
    console = Console(file=page, width=110, no_color=True)
    console.print(_table([heading(comparison, name).en for name in ("model", *names)], rows))
    classes = classes_of(comparison)
    if classes:
        models = comparison.finished
        cells = [(name, *(shown("mean_IoU", result.of_class(name)) for result in models)) for name in classes]
        console.print(_table([HEADINGS["classes"].en, *(result.model for result in models)], cells))
    return page.getvalue().rstrip()


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(*head, box=box.SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def csv_text(comparison: Comparison) -> str:
    """One row a model, plain numbers; a stage's column ends in _ms. Write it with encoding utf-8-sig for Excel."""
    stages, classes, each = stages_of(comparison), classes_of(comparison), KINDS[comparison.task].each
    counts = [name for name in OBJECTS if any(math.isfinite(result.figure(name)) for result in comparison.results)]
    figures = [*columns(comparison), *counts]
    parts = [*(f"{each}_{name}" for name in classes), *(f"{stage}_ms" for stage in stages)]
    names = ["name", "model", *figures, *parts, "shown_from_score", "failure"]
    page = StringIO()
    writer = csv.writer(page, lineterminator="\n")
    writer.writerow(names)
    for result in comparison.results:
        numbers = [value(result, column) for column in figures]
        numbers += [result.of_class(name) for name in classes]
        numbers += [result.stages.get(stage, math.nan) for stage in stages]
        cells = [f"{number:.6g}" if math.isfinite(number) else "" for number in numbers]
        writer.writerow([result.name, result.model, *cells, result.score if result.stages else "", result.failure])
    return page.getvalue()
