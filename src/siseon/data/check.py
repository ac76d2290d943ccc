"""`check`: read a whole data set, every picture decoded, and say what is in it and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from rich.cells import cell_len

from siseon import pictures
from siseon.data.dataset import Annotation, Data, Dataset, Maps, Problem
from siseon.data.open_data import UnusableDataError, open_data
from siseon.interface import VOID, DataError, PictureError, Size

SMALL, LARGE = 32**2, 96**2
"""COCO's limits of small, medium and large objects, in pixels of area (cocodataset.org/#detection-eval)."""

ALIKE = 4
"""Bits of 64 in which the difference hashes of two pictures may differ for them to be called nearly the same.

A picture at half the size and JPEG quality 50 differs by 0 to 4 from the original; the most similar pair of different
photos in four real data sets by 6.
"""

TELLING = 64
"""Pictures less high or wide than this are only compared pixel by pixel: two handwritten 3s have the same hash."""

UNEVEN = 10
"""How many times the rarest class the most frequent one may have before it is worth saying."""


KINDS = {"detection": "an object", "captioning": "a sentence"}
"""Task -> what a picture must have."""
WORDS = 20
"""So many words of a vocabulary are listed."""


@dataclass(frozen=True, slots=True)
class SplitCounts:
    """What one split holds. sizes: objects by area of box; smallest, largest: (height, width) of a picture."""

    pictures: int
    unreadable: int
    empty: int
    objects: int
    crowd: int
    classes: Mapping[str, int]
    sizes: Mapping[str, int]
    smallest: Size
    largest: Size


class Copy(NamedTuple):
    """A picture in two splits. bits: how far their difference hashes are apart, None where all pixels are equal."""

    first: str
    second: str
    bits: int | None


class Table(NamedTuple):
    """One part of a report, as plain text: title, names of the columns, rows."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Report:
    """What `check` found. turned: pictures that EXIF turns; reasons: why the data set cannot be used, if it cannot."""

    name: str
    task: str
    classes: tuple[str, ...]
    splits: Mapping[str, SplitCounts]
    problems: tuple[Problem, ...]
    copies: tuple[Copy, ...] = ()
    turned: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether a model can be trained on it, or evaluated where it has no train."""
        return not self.reasons

    @property
    def findings(self) -> list[str]:
        """What a person should know before training, one sentence each."""
        return [*self.reasons, *_leaks(self.copies), *_unevenness(self)]

    def lines(self, problems: int = 20) -> list[str]:
        """The report as lines of text, with at most so many problems."""
        lines = [f"{self.name}: {self.task or 'unknown task'}, classes: {len(self.classes)}", ""]
        for table in render(self, problems):
            lines += [*_aligned(table), ""]
        return [*lines, "This data set can be used." if self.usable else "This data set cannot be used."]

    def to_text(self) -> str:
        """The report as text."""
        return "\n".join(self.lines())

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values for json.dumps; the keys are the names of the fields."""
        return {**asdict(self), "copies": [copy._asdict() for copy in self.copies], "usable": self.usable}


def render(report: Report, problems: int = 20) -> list[Table]:
    """The report as tables of text; `problems`: how many of them are listed. Empty tables are left out."""
    tables = [_splits_table(report), _classes_table(report)]
    tables.append(Table("Findings", ("",), [(finding,) for finding in report.findings]))
    rows: list[tuple[str, ...]] = [(problem.file, problem.what, problem.done) for problem in report.problems[:problems]]
    more = len(report.problems) - len(rows)
    if more > 0:
        rows.append(("...", f"{more} more", ""))
    tables.append(Table("Problems", ("file", "what", "done"), rows))
    return [table for table in tables if table.rows]


def check(path: str | Path, on_progress: Callable[[int, int], None] | None = None) -> Report:
    """Open a data set as `open_data` does, then decode every picture.

    Beside the problems of opening: pictures that cannot be decoded, counts by split, class and size, pictures that are
    in two splits (equal, or nearly: hashes of the brightness steps of a 9x8 version, `ALIKE`), pictures turned by
    EXIF, uneven classes. on_progress(done, total) is called after each picture. Raises DataError where there is no
    data set; one in which nothing can be used gives a report that says why.
    """
    try:
        data = open_data(path)
    except UnusableDataError as error:
        return Report(Path(path).name, "", (), {}, error.problems, reasons=(error.problem,))
    return examine(data, on_progress)


def examine(data: Data, on_progress: Callable[[int, int], None] | None = None) -> Report:
    """`check` for a data set that is open already."""
    total = sum(len(dataset) for _, dataset in data)
    looks: dict[str, list[_Look]] = {}
    problems = list(data.problems)
    done = 0
    for split, dataset in data:
        looks[split] = []
        for look in _looked(dataset):
            looks[split].append(look)
            if look.problem:
                problems.append(Problem(look.name, look.problem, "cannot be used"))
            done += 1
            if on_progress:
                on_progress(done, total)
    splits = {split: _counts(data.classes, looks[split]) for split in data.splits}
    return Report(
        name=data.name,
        task=data.task,
        classes=data.classes,
        splits=splits,
        problems=tuple(problems),
        copies=tuple(_copies(looks)),
        turned=tuple(dict.fromkeys(look.name for split in looks.values() for look in split if look.turned)),
        reasons=tuple(_reasons(data.task, splits)),
    )


@dataclass(frozen=True, slots=True)
class _Look:
    """What is kept of one picture: its name, and why it cannot be read, or two hashes of its pixels and its objects.

    labels: those that count, the picture's own for classification, those in its map for segmentation; areas: of
    the boxes; crowd: how many are crowd.
    """

    name: str
    problem: str = ""
    pixels: bytes = b""
    steps: int = 0
    size: Size = (0, 0)
    turned: bool = False
    labels: tuple[int, ...] = ()
    areas: tuple[float, ...] = ()
    crowd: int = 0


def _looked(dataset: Dataset) -> Iterator[_Look]:
    for index in range(len(dataset)):
        annotation = dataset.annotation(index)
        try:
            picture = dataset.picture(index)
            turned = bool(annotation.path) and pictures.size_and_turn(annotation.path or "")[1]
            labels, areas = _counted(annotation)
            if dataset.task == "segmentation" and isinstance(dataset, Maps):
                labels = tuple(label for label in np.unique(dataset.semantic(index)).tolist() if label != VOID)
        except (DataError, PictureError) as error:
            yield _Look(annotation.name, error.problem.removeprefix(f"{annotation.path}: "))
            continue
        size = (picture.shape[0], picture.shape[1])
        digest = blake2b(str(size).encode() + picture.tobytes(), digest_size=16).digest()
        crowd = int(annotation.crowd.sum())
        yield _Look(annotation.name, "", digest, brightness_steps(picture), size, turned, labels, areas, crowd)


def brightness_steps(picture: np.ndarray) -> int:
    """The difference hash of a picture [height, width, 3] (N. Krawetz 2013): 64 bits that survive scaling and JPEG.

    The picture is made 9x8 and grey; each bit says whether a pixel is brighter than its right neighbour.
    """
    small = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (9, 8), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(small[:, :-1] > small[:, 1:]).tobytes(), "big")


def _copies(looks: Mapping[str, Sequence[_Look]]) -> Iterator[Copy]:
    """For each picture of a later split an equal one of the earlier splits, or else the nearest nearly equal one."""
    names = [split for split in ("train", "val", "test") if split in looks]
    earlier: list[_Look] = []
    for split in names:
        current = [look for look in looks[split] if not look.problem]
        if earlier and current:
            yield from _copies_of(current, earlier)
        earlier += current


def _copies_of(current: Sequence[_Look], earlier: Sequence[_Look]) -> Iterator[Copy]:
    equal = {look.pixels: look.name for look in reversed(earlier)}
    steps = np.array([look.steps for look in earlier], np.uint64)
    for look in current:
        if look.pixels in equal:
            yield Copy(equal[look.pixels], look.name, None)
            continue
        bits = np.bitwise_count(steps ^ np.uint64(look.steps))
        nearest = int(bits.argmin())
        # A picture without steps (plain sky, a drawing on white) is like any other such picture.
        if bits[nearest] <= ALIKE and look.steps.bit_count() > 8 and min(look.size) >= TELLING:
            yield Copy(earlier[nearest].name, look.name, int(bits[nearest]))


def _counts(names: Sequence[str], looks: Sequence[_Look]) -> SplitCounts:
    sound = [look for look in looks if not look.problem]
    labels = Counter(label for look in sound for label in look.labels)
    areas = [area for look in sound for area in look.areas]
    sizes = [look.size for look in sound] or [(0, 0)]
    return SplitCounts(
        pictures=len(looks),
        unreadable=len(looks) - len(sound),
        empty=sum(not look.labels for look in sound),
        objects=len(areas),
        crowd=sum(look.crowd for look in sound),
        classes={name: labels[label] for label, name in enumerate(names)},
        sizes={
            "small": sum(area < SMALL for area in areas),
            "medium": sum(SMALL <= area < LARGE for area in areas),
            "large": sum(area >= LARGE for area in areas),
        },
        smallest=min(sizes, key=lambda size: size[0] * size[1]),
        largest=max(sizes, key=lambda size: size[0] * size[1]),
    )


def _counted(annotation: Annotation) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The labels that count, without crowd, and the areas of their boxes; the picture's own label; or its words."""
    if annotation.label is not None:
        return (annotation.label,), ()
    if annotation.tokens:
        return tuple(label for sentence in annotation.tokens for label in sentence), ()
    objects = ~annotation.crowd
    sides = (annotation.boxes[:, 2:] - annotation.boxes[:, :2])[objects]
    return tuple(annotation.labels[objects].tolist()), tuple(sides.prod(1).tolist())


def _reasons(task: str, splits: Mapping[str, SplitCounts]) -> Iterator[str]:
    for split, counts in splits.items():
        if counts.pictures == counts.unreadable:
            yield f"No picture of {split} can be read"
    first = splits.get("train") or next(iter(splits.values()), None)
    if first and not any(first.classes.values()):
        yield f"No picture has {KINDS.get(task, 'a class')}"


def _leaks(copies: Sequence[Copy]) -> Iterator[str]:
    """Sentences about pictures in two splits."""
    advice = "scores on them say little about new pictures"
    equal = [copy for copy in copies if copy.bits is None]
    near = [copy for copy in copies if copy.bits is not None]
    if equal:
        yield f"In two splits: {_count(equal)} ({equal[0].first} = {equal[0].second}); {advice}"
    if near:
        yield f"Nearly the same in two splits: {_count(near)} ({near[0].first} ~ {near[0].second}); {advice}"


def _count(things: Sequence[object]) -> str:
    return "1 picture" if len(things) == 1 else f"{len(things)} pictures"


def _unevenness(report: Report) -> Iterator[str]:
    """Sentences about classes, but not about words, and turned pictures."""
    train = report.splits.get("train") if report.task != "captioning" else None
    counts = {name: count for name, count in train.classes.items() if count} if train else {}
    if counts and max(counts.values()) > UNEVEN * min(counts.values()):
        most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
        yield f"Uneven classes in train: {counts[most]} '{most}', {counts[least]} '{least}'"
    for split, other in report.splits.items():
        missing = [name for name, count in other.classes.items() if count and train and not counts.get(name)]
        if missing:
            yield f"In {split} but not in train: {', '.join(missing)}"
    if report.turned:
        yield f"Turned by EXIF: {_count(report.turned)} ({report.turned[0]}); they are read upright"


def _splits_table(report: Report) -> Table:
    detection = report.task == "detection"
    rows = []
    for split, counts in report.splits.items():
        row = [split, f"{counts.pictures}", f"{counts.unreadable}"]
        if detection:
            row += [f"{counts.empty}", f"{counts.objects}", f"{counts.crowd}", *map(str, counts.sizes.values())]
        row.append(" to ".join(f"{width}x{height}" for height, width in (counts.smallest, counts.largest)))
        rows.append(tuple(row))
    objects = ("without objects", "objects", "crowd", "small", "medium", "large") if detection else ()
    return Table("Splits", ("split", "pictures", "unreadable", *objects, "width x height"), rows)


def _classes_table(report: Report) -> Table:
    totals = {name: [counts.classes[name] for counts in report.splits.values()] for name in report.classes}
    names = sorted(totals, key=lambda name: -sum(totals[name]))
    rows = [(name, *map(str, totals[name])) for name in names]
    if report.task == "captioning":
        left_out = [("...", f"{len(rows) - WORDS} more")] if len(rows) > WORDS else []
        return Table("Words", ("word", *report.splits), [*rows[:WORDS], *left_out])
    return Table("Classes", ("class", *report.splits), rows)


def _aligned(table: Table) -> list[str]:
    """A table as lines; Hangul is two columns wide."""
    rows = [table.columns, *table.rows] if any(table.columns) else table.rows
    widths = [max(cell_len(row[column]) for row in rows) for column in range(len(table.columns))]
    padded = (
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return [table.title, *(f"  {line}".rstrip() for line in padded)]
