"""The layer table as text, Markdown and CSV."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from siseon.inspection.formulas import formulas
from siseon.inspection.rows import Measure, Row, Shape, Totals, Window
from siseon.inspection.words import Language, sentence, term

if TYPE_CHECKING:
    from siseon.inspection.table import Table

_WINDOW = ("K", "S", "P", "D", "G")
MEASURES: tuple[Measure, ...] = ("parameters", "activations", "macs")
LEFT = ("name", "layer")
"""Columns of words; all others are numbers and stand to the right."""


def columns(table: Table) -> list[str]:
    """The columns that this table needs: dilation and groups only where a layer has them."""
    windows = [row.window for row in table.rows if row.window is not None]
    useless = {
        "D": all(window.dilation == (1, 1) for window in windows),
        "G": all(window.groups == 1 for window in windows),
    }
    window = [letter for letter in _WINDOW if windows and not useless.get(letter)]
    counts = ["weights", "biases", "parameters so far", "activations", "memory", "memory so far", "MACs"]
    return ["#", "name", "layer", "input size", "output size", *window, *counts, "receptive field", "jump"]


def heading(column: str, language: Language) -> str:
    """The name of a column; symbols are the same in both languages."""
    return column if column == "#" or column in _WINDOW else term(column, language)


def cells(number: int, row: Row, running: Totals, language: Language) -> dict[str, str]:
    """What stands in each column of a row."""
    window = row.window
    letters = ["", "", "", "", ""] if window is None else [
        pair(window.kernel), pair(window.stride), _padding(window), pair(window.dilation), str(window.groups)
    ]  # fmt: skip
    return dict(zip(_WINDOW, letters, strict=True)) | {
        "#": str(number),
        "name": row.name,
        "layer": kind(row, language),
        "input size": ", ".join(dict.fromkeys(shape(one, row.items) for one in row.inputs)),
        "output size": shape(row.output, row.items),
        "weights": f"{row.weights:,}",
        "biases": f"{row.biases:,}",
        "parameters so far": f"{running.parameters:,}",
        "activations": f"{row.activations:,}",
        "memory": megabytes(row.bytes),
        "memory so far": megabytes(running.bytes),
        "MACs": f"{row.macs:,}",
        "receptive field": "-" if row.receptive_field is None else pair(row.receptive_field),
        "jump": "-" if row.jump is None else pair(row.jump),
    }


def _padding(window: Window) -> str:
    once = f"+{pair(window.extra_padding)}" if any(window.extra_padding) else ""
    return pair(window.padding) + once


def kind(row: Row, language: Language) -> str:
    """The kind of a layer, with its class where that says more."""
    word = term(row.kind, language)
    return (
        f"{word} ({row.type})" if row.kind in ("activation", "normalisation", "other", "recurrent", "not run") else word
    )


def pair(values: Sequence[object]) -> str:
    """One figure for height and width where they are equal."""
    return "x".join(str(value) for value in dict.fromkeys(values))


def shape(sizes: Shape, items: int = 1) -> str:
    """Channels x height x width, behind the number of items where there is more than one."""
    text = "x".join(map(str, sizes))
    return f"{items} * {text}" if items > 1 and text else text


def megabytes(count: int) -> str:
    """Bytes in kB or MB (powers of ten)."""
    if not count:
        return "0"
    return f"{count / 1e6:,.2f} MB" if count >= 1e6 else f"{count / 1e3:,.2f} kB"


def share(part: int, whole: int) -> str:
    """A part in per cent."""
    return f"{100 * part / whole:.1f} %" if whole else "0 %"


def title(table: Table, language: Language) -> str:
    """What the table shows."""
    size = f"{table.channels}x{table.image_size[0]}x{table.image_size[1]}"
    line = sentence("title", language, model=table.model, size=size)
    return line if table.batch == 1 else f"{line}, {sentence('batch', language, batch=table.batch)}"


def summary(table: Table, language: Language) -> list[str]:
    """The totals, and where most of them are."""
    totals = table.totals
    lines = [
        sentence(
            "parameters",
            language,
            parameters=f"{totals.parameters:,}",
            weights=f"{totals.weights:,}",
            biases=f"{totals.biases:,}",
        ),
        sentence(
            "memory",
            language,
            values=f"{totals.activations:,}",
            megabytes=megabytes(totals.bytes),
            mebibytes=f"{totals.bytes / 2**20:,.2f} MiB",
        ),
        sentence("macs", language, macs=f"{totals.macs:,}"),
    ]
    return lines + _largest(table, language)


def _largest(table: Table, language: Language) -> list[str]:
    lines = []
    for measure in MEASURES:
        row, whole = table.largest(measure), getattr(table.totals, measure)
        count = getattr(row, measure)
        if count:
            figures = {"count": f"{count:,}", "share": share(count, whole)}
            lines.append(sentence(f"most {measure}", language, name=row.name, kind=term(row.kind, language), **figures))
    return lines


def kinds(table: Table, language: Language) -> list[list[str]]:
    """A small table: the totals of each kind of layer, with their shares."""
    out = [[term(word, language) for word in ("layer", "parameters", "activations", "MACs")]]
    for name, sums in table.by_kind().items():
        pairs = [(getattr(sums, measure), getattr(table.totals, measure)) for measure in MEASURES]
        if any(count for count, _ in pairs):
            out.append([term(name, language), *(f"{count:,} ({share(count, whole)})" for count, whole in pairs)])
    return out


def notes(language: Language) -> list[str]:
    """What the figures mean."""
    return [sentence(f"note on {subject}", language) for subject in ("sizes", "fields", "memory", "gaps")]


def body(table: Table, language: Language) -> list[list[str]]:
    """Headings, then the rows, as words."""
    wanted = columns(table)
    lines = [[heading(column, language) for column in wanted]]
    for number, (row, running) in enumerate(zip(table.rows, table.running(), strict=True)):
        found = cells(number, row, running, language)
        lines.append([found[column] for column in wanted])
    return lines


def arithmetic(table: Table, language: Language) -> list[tuple[str, list[str]]]:
    """For each layer its title and its lines of arithmetic."""
    numbered = list(enumerate(table.rows))[1:]
    return [(f"{number} {row.name}: {kind(row, language)}", formulas(row, language)) for number, row in numbered]


def text(table: Table, language: Language, with_formulas: bool) -> str:
    """Aligned columns, wide Hangul counted as two."""
    wanted = columns(table)
    parts = [title(table, language), "", *_aligned(body(table, language), [column in LEFT for column in wanted]), ""]
    parts += [*summary(table, language), "", term("By kind of layer", language)]
    parts += [*_aligned(kinds(table, language), [True, False, False, False]), "", *notes(language)]
    if with_formulas:
        parts += ["", term("Arithmetic", language)]
        for head, lines in arithmetic(table, language):
            parts += [head, *(f"    {line}" for line in lines)]
    return "\n".join(parts) + "\n"


def _aligned(lines: list[list[str]], left: list[bool]) -> list[str]:
    widths = [max(_width(line[column]) for line in lines) for column in range(len(lines[0]))]
    out = []
    for line in lines:
        gaps = [" " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)]
        padded = [cell + gap if to_left else gap + cell for cell, gap, to_left in zip(line, gaps, left, strict=True)]
        out.append("  ".join(padded).rstrip())
    return out


def _width(cell: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in cell)


def markdown(table: Table, language: Language, with_formulas: bool) -> str:
    """Pipe tables under headings."""
    wanted = columns(table)
    parts = [
        f"# {title(table, language)}",
        "",
        *_piped(body(table, language), [column in LEFT for column in wanted]),
        "",
    ]
    parts += [*(f"- {line}" for line in summary(table, language)), "", f"## {term('By kind of layer', language)}", ""]
    parts += [
        *_piped(kinds(table, language), [True, False, False, False]),
        "",
        *(f"{line}  " for line in notes(language)),
    ]
    if with_formulas:
        parts += ["", f"## {term('Arithmetic', language)}"]
        for head, lines in arithmetic(table, language):
            parts += ["", f"### {head}", "", *(f"- `{line}`" for line in lines)]
    return "\n".join(parts) + "\n"


def _piped(lines: list[list[str]], left: list[bool]) -> list[str]:
    rows = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return [rows[0], "|" + "|".join(":--" if to_left else "--:" for to_left in left) + "|", *rows[1:]]


def csv_text(table: Table, language: Language) -> str:
    """Plain integers without separators; sizes and pairs joined by x."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["#", *(term(word, language) for word in _CSV)])
    for number, (row, running) in enumerate(zip(table.rows, table.running(), strict=True)):
        window = row.window
        slides = [""] * 5 if window is None else [*("x".join(map(str, both)) for both in window[:4]), window.groups]
        reach = ["", ""] if row.reach is None else ["x".join(map(str, both)) for both in row.reach]
        counts = [row.weights, row.biases, running.parameters, row.activations, row.bytes, running.bytes, row.macs]
        words = [row.name, term(row.kind, language), row.type, row.items, shape(row.input), shape(row.output)]
        writer.writerow([number, *words, *slides, *counts, running.macs, *reach])
    return out.getvalue()


_CSV = (
    *("name", "layer", "type", "items", "input size", "output size"),
    *("kernel", "stride", "padding", "dilation", "groups"),
    *("weights", "biases", "parameters so far", "activations", "bytes", "bytes so far", "MACs", "MACs so far"),
    *("receptive field", "jump"),
)
