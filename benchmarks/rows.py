"""What was measured: rows that are kept in docs/performance.json and shown in docs/performance.md."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

from benchmarks.turns import Times

DOCS = Path(__file__).parents[1] / "docs"

SECTIONS = {
    "detectors": "Detectors, one picture of 480 x 640 at the shorter side 800 (SSD: 300 x 300)",
    "classifiers": "Classifiers, pictures of 224 pixels",
    "export": "Exported: onnxruntime and OpenVINO run our ONNX file",
    "operators": "Box operators",
    "training": "A training step of Faster R-CNN, ResNet-50 with a pyramid, two pictures, SGD",
    "data": "Reading: decode a JPEG, flip, scale to 640 pixels, one thread",
    "sliding": "A whole picture in one pass, or window by window with the same scores (FCN, section 3.1)",
    "growth": "How the cost grows: faster_rcnn_mobilenet_v2, optimized",
    "start": "Starting",
}


PEERS = ("torchvision", "albumentations", "onnxruntime", "openvino")
"""How the engines begin that ours is compared with; onnxruntime and OpenVINO run what siseon exports, in float32."""

HEAD = """\
Written by `python -m benchmarks --peer PYTHON` (PYTHON has torchvision), a row at a time. Milliseconds: the median, and
below it the least and the greatest. All engines of a row take turns, each in a process of its own on two threads, with
the same weights and pictures, so that ratios hold even where single figures suffer from other work; what takes less
than a quarter of a second is repeated that long in its turn, and the last run counts. Load is the machine's when the
row was written. "tuned" is an engine with an allocator that keeps freed memory, threads on cores of their own and
idle ones that sleep soon (GOMP_SPINCOUNT=10000), as siseon's command line sets them for its own runs. The floor is the
time of the multiplications alone, at the speed of a large matrix product; convolutions by Winograd's way need fewer.
MiB is the most memory that the processes had, the peer's and ours.

Selective Search beside OpenCV's (benchmarks/selective_search.py, photos of about 350 x 470): 6.5 times as fast in the
mode single, 15 times in fast and in quality; recall at 0.5 on 50 COCO photos at equal counts 0.451 against 0.446 in
single, 0.723 against 0.615 in fast and 0.791 against 0.700 in quality; at 0.7 0.235 against 0.230, 0.418 against 0.434
and 0.592 against 0.538; ABO 0.452 against 0.459, 0.613 against 0.589 and 0.689 against 0.648.
"""


@dataclass
class Row:
    """One line of a table.

    engines: name -> milliseconds, ours among them; ours: the one that is compared; floor: milliseconds of nothing but
    the products, at the speed of a large matrix product; note: how far results agree, and what else must be known.
    """

    section: str
    name: str
    engines: dict[str, Times]
    ours: str
    floor: float | None = None
    note: str = ""
    load: float = field(default_factory=lambda: os.getloadavg()[0])
    date: str = field(default_factory=lambda: time.strftime("%Y-%m-%d"))

    def ratio(self, peer: str) -> float:
        """How many times as long the peer takes."""
        return self.engines[peer].median / self.engines[self.ours].median


def kept() -> list[Row]:
    """The rows of earlier runs."""
    file = DOCS / "performance.json"
    rows = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    return [Row(**{**row, "engines": {name: Times(**each) for name, each in row["engines"].items()}}) for row in rows]


def keep(row: Row) -> None:
    """Put the row in the place of an earlier one of its name, and write both files anew."""
    rows = [each for each in kept() if (each.section, each.name) != (row.section, row.name)] + [row]
    rows.sort(key=lambda each: list(SECTIONS).index(each.section))
    text = json.dumps([asdict(each) for each in rows], indent=1)
    (DOCS / "performance.json").write_text(text + "\n", encoding="utf-8")
    (DOCS / "performance.md").write_text(page(rows), encoding="utf-8")


def peers_of(row: Row) -> list[str]:
    """The engines that ours is compared with: those of the same precision."""
    return [name for name in row.engines if name.startswith(PEERS) and not name.endswith(("int8", "bf16"))]


def shown(row: Row) -> str:
    """The row as one line for the terminal."""
    figures = ", ".join(
        f"{name} {each.median:.4g} ({each.least:.4g}..{each.greatest:.4g})" for name, each in row.engines.items()
    )
    ratios = ", ".join(f"{row.ratio(name):.2f}x {name}" for name in peers_of(row))
    return f"{row.name}: {figures} ms; {ratios}; {row.note}"


def page(rows: list[Row]) -> str:
    """docs/performance.md."""
    lines = ["# Speed, measured", "", HEAD, f"{processor()}, torch {version('torch')}.", ""]
    for section, title in SECTIONS.items():
        own = [row for row in rows if row.section == section]
        if not own:
            continue
        names = list(dict.fromkeys(name for row in own for name in row.engines))
        peers = list(dict.fromkeys(name for row in own for name in peers_of(row)))
        over = [f"over {name}" for name in peers]
        floor = ["floor"] if any(row.floor for row in own) else []
        heads = ["", *names, *over, *floor, "MiB", "notes", "load", "date"]
        lines += [f"## {title}", "", "| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
        for row in own:
            cells = [row.name, *(cell(row.engines.get(name)) for name in names)]
            cells += [f"**{row.ratio(name):.2f}x**" if name in row.engines else "" for name in peers]
            cells += [f"{row.floor:.4g}" if row.floor else "" for _ in floor]
            peaks = " / ".join(
                f"{row.engines[name].peak:.0f}" for name in (*peers[:1], row.ours) if name in row.engines
            )
            cells += [peaks, row.note, f"{row.load:.0f}", row.date]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def cell(times: Times | None) -> str:
    """Median, and least to greatest."""
    return "" if times is None else f"{times.median:.4g} <br> {times.least:.4g}..{times.greatest:.4g}"


def processor() -> str:
    """The processor's name, and how many cores of it are ours."""
    name = "unknown processor"
    if Path("/proc/cpuinfo").exists():
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        name = next(
            (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), name
        )
    return f"{name}, {os.cpu_count()} cores"
