"""Paint a photo file in the style of a picture file, into a folder: the result, the pictures on the way, the losses."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from siseon import pictures, tensorfile
from siseon.models.classification.classifier import Classifier
from siseon.models.generation.style_transfer import Layers, Optimizer, Pooling, Start, Step, scaled, sizes, stylise

KEPT = 12
"""Pictures on the way that are written, at equal distances."""

COLUMNS = ("step", "side", "content", "style", "variation", "total")


def paint(
    content: Path,
    style: Path,
    network: Classifier,
    out: Path,
    *,
    size: int = 512,
    steps: int = 150,
    content_weight: float = 0.05,
    style_weight: float = 1.0,
    variation_weight: float = 0.0,
    start: Start = "content",
    optimizer: Optimizer = "lbfgs",
    pooling: Pooling = "mean",
    keep_colour: bool = False,
    layers: Layers | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, of: None,
    say: Callable[[str], None] = print,
) -> Path:
    """Write result.png, steps/*.png, losses.csv and losses.png into `out`, and give the result's path.

    content, style: picture files of any mode and size. The settings are those of `stylise`; progress is told the steps
    done and their number, say a line for each size. Raises PictureError for a file that cannot be read.
    """
    photo, painting = pictures.to_tensor(pictures.read(content)), pictures.to_tensor(pictures.read(style))
    # a photo of 50 megapixels need not be held in floats while it is painted at 512 pixels
    photo, painting = (scaled(each, size) if max(each.shape) > size else each for each in (photo, painting))
    rows: list[tuple[float, ...]] = []
    every = sizes(size)

    def watch(step: Step) -> None:
        side = every[(step.number - 1) * len(every) // step.of]
        rows.append((step.number, side, step.content, step.style, step.variation, step.total))
        progress(step.number, step.of)
        if step.number % max(step.of // KEPT, 1) == 0:
            _write(step.picture, out / "steps" / f"{step.number:05}.png")
        if step.number % steps == 0:
            say(f"{side} pixels: content {step.content:.4f}, style {step.style:.4f}")

    result = stylise(
        photo, painting, network, layers=layers, size=size, steps=steps, content_weight=content_weight,
        style_weight=style_weight, variation_weight=variation_weight, start=start, optimizer=optimizer,
        pooling=pooling, keep_colour=keep_colour, seed=seed, watch=watch,
    )  # fmt: skip
    _write(result, out / "result.png")
    tensorfile.write_whole(out / "losses.csv", [table(rows).encode()])
    tensorfile.write_whole(out / "losses.png", [plot(rows)])
    return out / "result.png"


def table(rows: Sequence[Sequence[float]]) -> str:
    """The losses of each step as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([COLUMNS, *rows])
    return text.getvalue()


def plot(rows: Sequence[Sequence[float]]) -> bytes:
    """A PNG: the content loss and the style loss over the steps, with a line where the picture grew."""
    from matplotlib.figure import Figure  # matplotlib takes half a second to import

    figure = Figure(figsize=(10, 4), layout="constrained")
    grew = [row[0] for row, before in zip(rows[1:], rows, strict=False) if row[1] != before[1]]
    for axes, name in zip(figure.subplots(1, 2), ("content", "style"), strict=True):
        axes.plot([row[0] for row in rows], [row[COLUMNS.index(name)] for row in rows])
        axes.set_yscale("log")
        for step in grew:
            axes.axvline(step, color="0.7", linestyle=":")
        axes.set_title(f"{name} loss")
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100)
    return picture.getvalue()


def _write(picture: Tensor, path: Path) -> None:
    pictures.write(pictures.to_array(picture.clamp(0, 1).cpu()), path)
