"""The plots of the race: where the time goes, accuracy against speed, accuracy by the size of objects or by class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from siseon import drawing
from siseon.comparison.reading import best_trades, milliseconds, share
from siseon.comparison.result import Comparison, Result
from siseon.comparison.tables import classes_of, objects, shown, stages_of
from siseon.comparison.words import COLUMNS, SIZES, STAGES, Language, Text

STAGE_COLOURS = {
    "preparation": "#bab0ac",
    "proposals": "#e15759",
    "features": "#4e79a7",
    "regions": "#f2ab5c",
    "head": "#59a14f",
    "selection": "#b07aa1",
    "rest": "#d9d5d2",
}
MODEL_COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#76b7b2", "#edc948", "#9c755f", "#ff9da7")
WIDE = 4.0
"""From which quotient of times on their axis is logarithmic."""


def draw(comparison: Comparison, languages: tuple[Language, ...]) -> list[Path]:
    """Draw the plots that there are figures for into the folder of the race; gives their files."""
    timed = [result for result in comparison.finished if result.stages]
    if not timed:
        return []
    drawing.use_hangul_in_plots()
    # the digits of DejaVu Sans, whose points are not taken for commas
    with matplotlib.rc_context({"font.family": ["DejaVu Sans", "NanumSquare"]}):
        drawn = [
            stages(comparison, timed, languages, comparison.folder / "stages.png"),
            accuracy_speed(comparison, timed, languages, comparison.folder / "accuracy_speed.png"),
        ]
        if comparison.task == "detection":
            drawn.append(sizes(comparison.finished, languages, comparison.folder / "sizes.png"))
        if comparison.task == "segmentation":
            drawn.append(by_class(comparison, comparison.folder / "classes.png"))
    return drawn


def stages(comparison: Comparison, results: Sequence[Result], languages: tuple[Language, ...], path: Path) -> Path:
    """Two rows of stacked bars: milliseconds of each stage, and its share, which shows the fast models too."""
    figure = _figure(11, 1.7 + 0.5 * len(results))
    whole, parts = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    rows = range(len(results))
    lefts, shares = [0.0] * len(results), [0.0] * len(results)
    for stage in stages_of(comparison):
        look = {"color": STAGE_COLOURS[stage], "edgecolor": "white", "linewidth": 0.6}
        times = [result.stages.get(stage, 0.0) for result in results]
        part = [share(result, stage) for result in results]
        whole.barh(rows, times, left=lefts, label=STAGES[stage].within(languages), **look)
        parts.barh(rows, part, left=shares, **look)
        for row, (left, size) in enumerate(zip(shares, part, strict=True)):
            if size >= 0.08:
                parts.text(left + size / 2, row, f"{size:.0%}", ha="center", va="center", fontsize=8.5)
        lefts = [left + time for left, time in zip(lefts, times, strict=True)]
        shares = [left + size for left, size in zip(shares, part, strict=True)]
    for row, result in enumerate(results):
        whole.annotate(
            milliseconds(result.milliseconds), (lefts[row], row), (4, 0), textcoords="offset points", va="center"
        )
    whole.set_yticks(rows, [result.model for result in results])
    whole.invert_yaxis()
    whole.set_xlim(0, max(lefts) * 1.16)
    whole.set_xlabel(Text("milliseconds a picture", "그림 한 장에 걸리는 밀리초").within(languages))
    parts.set_xlim(0, 1)
    parts.set_xticks([0, 0.5, 1], ["0%", "50%", "100%"])
    parts.set_xlabel(Text("share of the time", "시간의 몫").within(languages))
    for axes in (whole, parts):
        _plain(axes)
    figure.legend(loc="outside upper center", ncols=4 if len(languages) > 1 else 7, frameon=False)
    return _saved(figure, path)


def accuracy_speed(
    comparison: Comparison, results: Sequence[Result], languages: tuple[Language, ...], path: Path
) -> Path:
    """A point for each model, its area by its parameters; a line joins those that none beats in both."""
    figure = _figure(8.5, 5.2)
    axes = figure.add_subplot()
    main = comparison.main
    known = [result for result in results if math.isfinite(result.figure(main))]
    front = best_trades(known, main)
    axes.plot(
        [r.milliseconds for r in front],
        [r.figure(main) for r in front],
        color="0.75",
        linestyle="--",
        linewidth=1,
        zorder=1,
    )
    most = max((result.parameters for result in known), default=1) or 1
    for number, result in enumerate(known):
        axes.scatter(
            result.milliseconds,
            result.figure(main),
            s=40 + 360 * result.parameters / most,
            color=MODEL_COLOURS[number % len(MODEL_COLOURS)],
            alpha=0.85,
            edgecolor="white",
            zorder=2,
        )
    times = [result.milliseconds for result in known]
    if known and max(times) > WIDE * min(times):
        _logarithmic(axes, times)
    else:
        axes.margins(x=0.25)
    axes.margins(y=0.2)
    values = [result.figure(main) for result in known]
    if values and max(values) - min(values) < 0.02:
        axes.set_ylim(max(min(values) - 0.03, -0.01), min(max(values) + 0.03, 1.02))
    axes.set_xlabel(
        Text("milliseconds a picture (left is faster)", "그림 한 장에 걸리는 밀리초 (왼쪽이 빠르다)").within(languages)
    )
    axes.set_ylabel(COLUMNS[main].within(languages))
    _plain(axes, both=True)
    _name(axes, known, main)
    return _saved(figure, path)


def sizes(results: Sequence[Result], languages: tuple[Language, ...], path: Path) -> Path:
    """A group of bars for each size of objects that there is, a bar for each model."""
    figure = _figure(9, 4.6)
    axes = figure.add_subplot()
    width = 0.8 / len(results)
    known = [name for name in SIZES if any(math.isfinite(result.figure(name)) for result in results)]
    for number, result in enumerate(results):
        places = [group - 0.4 + width * (number + 0.5) for group in range(len(known))]
        heights, texts = _bars([result.figure(name) for name in known])
        axes.bar(places, heights, 0.92 * width, label=result.model, color=MODEL_COLOURS[number % len(MODEL_COLOURS)])
        for place, text, height in zip(places, texts, heights, strict=True):
            axes.annotate(
                text,
                (place, height),
                (0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=8 if width > 0.1 else 6.5,
            )
    axes.set_xticks(range(len(known)), [_with_count(SIZES[name], objects(results, name), languages) for name in known])
    axes.set_ylabel(Text("AP (0.50 to 0.95)", "AP (0.50부터 0.95까지)").within(languages))
    axes.margins(y=0.12)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    _plain(axes, vertical=True)
    return _saved(figure, path)


def by_class(comparison: Comparison, path: Path) -> Path:
    """A group of lying bars for each class, a bar for each model: its IoU."""
    results, classes = comparison.finished, classes_of(comparison)
    figure = _figure(9, 1.2 + len(classes) * (0.15 + 0.18 * len(results)))
    axes = figure.add_subplot()
    height = 0.8 / len(results)
    for number, result in enumerate(results):
        places = [group - 0.4 + height * (number + 0.5) for group in range(len(classes))]
        lengths, texts = _bars([result.of_class(name) for name in classes])
        axes.barh(places, lengths, 0.92 * height, label=result.model, color=MODEL_COLOURS[number % len(MODEL_COLOURS)])
        for place, text, length in zip(places, texts, lengths, strict=True):
            axes.annotate(text, (length, place), (3, 0), textcoords="offset points", va="center", fontsize=7.5)
    axes.set_yticks(range(len(classes)), classes)
    axes.invert_yaxis()
    axes.set_xlabel("IoU")
    axes.margins(x=0.08, y=0.02)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    _plain(axes)
    return _saved(figure, path)


def _bars(values: Sequence[float]) -> tuple[list[float], list[str]]:
    """How long the bars of some figures are, and what stands at them; of one that is not known, nothing and a dash."""
    known = [math.isfinite(value) for value in values]
    lengths = [value if there else 0.0 for value, there in zip(values, known, strict=True)]
    return lengths, [f"{value:.2f}" if there else "–" for value, there in zip(values, known, strict=True)]


def _with_count(size: Text, count: float, languages: tuple[Language, ...]) -> str:
    """The name of a size of objects, and how many the figure is of."""
    if not math.isfinite(count):
        return size.within(languages, "\n")
    things = Text("object" if count == 1 else "objects", "개")
    return Text(f"{size.en}: {count:,.0f} {things.en}", f"{size.ko}: {count:,.0f}{things.ko}").within(languages, "\n")


def _name(axes: Axes, results: Sequence[Result], main: str) -> None:
    """Write the names at the points, each on the side where it covers least of the others."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # only then are the places of the points known
    points = [axes.transData.transform((result.milliseconds, result.figure(main))) for result in results]
    taken = [Bbox.from_extents(x - 9, y - 9, x + 9, y + 9) for x, y in points]
    for (x, y), result in zip(points, results, strict=True):
        text = f"{result.model}, {shown('parameters', result.parameters)}"
        label = axes.annotate(
            text, (result.milliseconds, result.figure(main)), (0, 0), textcoords="offset points", fontsize=9
        )
        extent = label.get_window_extent()
        boxes = [extent.translated(across, up) for across, up in _sides(extent.width, extent.height)]
        box = min(boxes, key=lambda one: _covered(one, axes.get_window_extent(), taken))
        taken.append(box)
        label.set_position(((box.x0 - x) * 72 / figure.dpi, (box.y0 - y) * 72 / figure.dpi))


def _sides(width: float, height: float) -> list[tuple[float, float]]:
    """Where a name may stand, in pixels from its point: right, left, above, below, and farther off."""
    gap = 15.0
    rights, lefts, middle = gap, -gap - width, -width / 2
    sides = [(rights, -height / 2), (lefts, -height / 2), (middle, gap), (middle, -gap - height)]
    return sides + [(left, up) for up in (gap, -gap - height, 2 * gap, -2 * gap - height) for left in (rights, lefts)]


def _covered(box: Bbox, edge: Bbox, taken: Sequence[Bbox]) -> float:
    """How many pixels of a box lie on others, or out of the axes, which is worse."""
    shared = [Bbox.intersection(box, other) for other in (edge, *taken)]
    inside, *others = [0.0 if part is None else part.width * part.height for part in shared]
    return 10 * (box.width * box.height - inside) + sum(others)


def _logarithmic(axes: Axes, times: Sequence[float]) -> None:
    """An axis of times with ticks at 1, 2 and 5."""
    axes.set_xscale("log")
    axes.set_xlim(min(times) / 2, max(times) * 2)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _plain(axes: Axes, *, vertical: bool = False, both: bool = False) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis="both" if both else "y" if vertical else "x", alpha=0.25)


def _figure(width: float, height: float) -> Figure:
    return Figure((width, height), layout="constrained")


def _saved(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=120)
    return path
