"""What a run leaves to read in its folder: metrics.csv, losses.png, log.txt, and TensorBoard's events if wished."""

from __future__ import annotations

import csv
import io
import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from siseon import tensorfile
from siseon.data.dataset import Problem
from siseon.interface import RecipeError

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

Row: TypeAlias = "dict[str, float]"
"""One epoch: its number from 1, step, loss, its parts, lr, pictures_per_second, seconds, then what validation says."""

COUNTS = ("epoch", "step")
LEAST_SECONDS_BETWEEN_PLOTS = 10.0
PLOTTED_METRICS = 3

log = logging.getLogger("siseon")


class Records:
    """Keeps the records of a run in `folder`; with None it only logs the problems."""

    def __init__(self, folder: Path | None, *, tensorboard: bool = False) -> None:
        self._folder = folder
        self._noted: set[str] = set()
        self._plotted = -math.inf
        self._events = _events(folder) if folder and tensorboard else None
        if folder and (folder / "log.txt").exists():
            self._noted.update((folder / "log.txt").read_text(encoding="utf-8").splitlines())

    def note(self, line: str) -> None:
        """Add a line to log.txt, unless it is there."""
        if line in self._noted:
            return
        self._noted.add(line)
        if self._folder:
            with (self._folder / "log.txt").open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")

    def problem(self, problem: Problem) -> None:
        """Note something wrong with the data, once."""
        line = f"problem: {problem}"
        if line not in self._noted:
            log.warning("%s", problem)
        self.note(line)

    def epochs(self, rows: Sequence[Row], *, last: bool = False) -> None:
        """Write metrics.csv anew, and losses.png unless it was drawn a moment ago. last: no epoch comes any more."""
        if not self._folder or not rows:
            return
        tensorfile.write_whole(self._folder / "metrics.csv", [table(rows).encode()])
        if last or time.monotonic() - self._plotted > LEAST_SECONDS_BETWEEN_PLOTS:
            tensorfile.write_whole(self._folder / "losses.png", [plot(rows)])
            self._plotted = time.monotonic()
        if self._events and not last:
            for name, value in rows[-1].items():
                if name not in COUNTS:
                    self._events.add_scalar(name, value, int(rows[-1]["step"]))

    def close(self) -> None:
        """Finish the events of TensorBoard."""
        if self._events:
            self._events.close()


def table(rows: Sequence[Row]) -> str:
    """The rows as CSV, with a column for every name that any of them has. Numbers are written in full."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: int(value) if name in COUNTS else value for name, value in row.items()} for row in rows)
    return text.getvalue()


def line(row: Mapping[str, float], epochs: int) -> str:
    """One epoch in one line, with the first figure of the validation."""
    names = list(row)
    shown = [*names[len(COUNTS) : names.index("lr")], *names[names.index("seconds") + 1 :][:1]]
    figures = "  ".join(f"{name} {row[name]:.4g}" for name in shown)
    return (
        f"epoch {row['epoch']:.0f}/{epochs}  step {row['step']:.0f}  {figures}  "
        f"{row['pictures_per_second']:.1f} pictures/s  {row['seconds']:.0f} s"
    )


def main_metric(row: Mapping[str, float]) -> str:
    """The name of the figure that chooses the best epoch: the first of the validation, else the training's loss."""
    names = list(row)
    return next(iter(names[names.index("seconds") + 1 :]), "loss")


def plot(rows: Sequence[Row]) -> bytes:
    """A PNG: the losses on the left, the first figures of the validation on the right, over the epochs."""
    from matplotlib.figure import Figure  # matplotlib takes half a second to import

    names = list(rows[-1])
    losses = names[len(COUNTS) : names.index("lr")]
    measured = names[names.index("seconds") + 1 :][:PLOTTED_METRICS]
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, group, title in zip(figure.subplots(1, 2), (losses, measured), ("training", "validation"), strict=True):
        for name in group:
            points = [(row["epoch"], row[name]) for row in rows if name in row]
            axes.plot(*zip(*points, strict=True), marker=".", label=name)
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if group:
            axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100)
    return picture.getvalue()


def _events(folder: Path) -> SummaryWriter:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as fault:
        raise RecipeError(
            "TensorBoard is not installed", "pip install 'siseon[tensorboard]', or leave it out"
        ) from fault
    return SummaryWriter(str(folder))
