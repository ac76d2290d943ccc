"""The report as Markdown, for a repository: the pictures lie beside it."""

from __future__ import annotations

from collections.abc import Sequence

from siseon.comparison.photographs import Sheet, answering
from siseon.comparison.reading import reading
from siseon.comparison.remarks import conditions, figures, stage_meanings, title
from siseon.comparison.result import Comparison, Result
from siseon.comparison.tables import best, best_of_class, classes_of, columns, heading, shown, value
from siseon.comparison.words import HEADINGS, Language


def markdown(comparison: Comparison, sheets: Sequence[Sheet], languages: tuple[Language, ...]) -> str:
    """The report as Markdown, in both languages one after the other."""
    lines = [f"# {title(comparison).within(languages)}", ""]
    for language in languages:
        lines += [f"- {getattr(sentence, language)}" for sentence in reading(comparison)] + [""]
    names = columns(comparison)
    lines += _markdown_table(
        [heading(comparison, name).within(languages) for name in ("model", *names)],
        [[result.model, *(_marked(comparison, result, name) for name in names)] for result in comparison.results],
    )
    for file, name in figures(comparison):
        lines += [f"## {HEADINGS[name].within(languages)}", "", f"![{name}]({file})", ""]
        if name == "stages":
            lines += [f"- {meaning.within(languages)}" for meaning in stage_meanings(comparison)] + [""]
        if name == "classes":
            lines += _classes(comparison, languages)
    if sheets:
        lines += [f"## {HEADINGS['photos'].within(languages)}", "", *_photos(comparison, sheets, languages), ""]
    if comparison.failed:
        lines += [f"## {HEADINGS['failed'].within(languages)}", ""]
        lines += [f"- {result.model}: {result.failure}" for result in comparison.failed] + [""]
    lines += [f"## {HEADINGS['conditions'].within(languages)}", ""]
    for language in languages:
        lines += [f"- {getattr(text, language)}" for text in conditions(comparison)] + [""]
    return "\n".join(lines)


def _classes(comparison: Comparison, languages: tuple[Language, ...]) -> list[str]:
    """The figure of each class, a column for each model."""
    models = comparison.finished
    rows = [
        [name, *(_bold(result.of_class(name), best_of_class(comparison, name)) for result in models)]
        for name in classes_of(comparison)
    ]
    return _markdown_table([HEADINGS["class"].within(languages), *(result.model for result in models)], rows)


def _bold(number: float, most: float) -> str:
    text = shown("mean_IoU", number)
    return f"**{text}**" if number == most else text


def _photos(comparison: Comparison, sheets: Sequence[Sheet], languages: tuple[Language, ...]) -> list[str]:
    """The pictures; of classification a table with the answers to each."""
    images = [f"![{sheet.file.stem}]({sheet.file.relative_to(comparison.folder).as_posix()})" for sheet in sheets]
    if comparison.task != "classification":
        return images
    head = ["", HEADINGS["truth"].within(languages), *(result.model for result in answering(comparison))]
    rows = [
        [image, sheet.truth, *(f"{'✓' if right else '✗'} {answer}" for answer, right in sheet.answers)]
        for image, sheet in zip(images, sheets, strict=True)
    ]
    return _markdown_table(head, rows)


def _marked(comparison: Comparison, result: Result, column: str) -> str:
    number = value(result, column)
    text = shown(column, number)
    return f"**{text}**" if number == best(comparison, column) and not result.failure else text


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    cells = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return [f"| {' | '.join(row)} |" for row in cells] + [""]
