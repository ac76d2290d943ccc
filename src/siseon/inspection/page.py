"""The layer table as one web page that needs nothing else: both languages, arithmetic, light and dark."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from siseon.inspection import render
from siseon.inspection.words import Language, term

if TYPE_CHECKING:
    from siseon.inspection.table import Table

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --bar: #4a90d955; }
body { font: 15px/1.5 system-ui, "Apple SD Gothic Neo", "Malgun Gothic", sans-serif; margin: 1.5rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.15rem; margin-top: 2rem; } h3 { font-size: 1rem; margin: 1.2rem 0 .2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { border-bottom-width: 2px; } th.words, td.words { text-align: left; }
tbody tr:hover { background: #8882; }
td.bar { background: linear-gradient(to left, var(--bar) var(--part), transparent var(--part)); }
a { color: inherit; text-underline-offset: .2em; }
code { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .92em; }
ul { margin: .2rem 0; padding-left: 1.4rem; }
.notes { opacity: .8; font-size: .92em; }
#en:checked ~ main section[lang=ko], #ko:checked ~ main section[lang=en] { display: none; }
@media print { input, label { display: none; } body { font-size: 10px; } }
"""

_BARS = {"weights": "weights", "memory": "bytes", "MACs": "macs"}
"""Columns with a bar behind the figure, as long as its part of the column's largest."""


def html(table: Table, language: Language) -> str:
    """The page; `language` is the one shown first, the other is one click away and needs no script."""
    term("name", language)
    switch = "".join(
        f'<input type="radio" name="language" id="{code}"{" checked" if code == language else ""}>'
        f'<label for="{code}" lang="{code}">{name}</label> '
        for code, name in (("en", "English"), ("ko", "한국어"))
    )
    sections = _section(table, "en") + _section(table, "ko")
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f"<title>{escape(render.title(table, language))}</title><style>{_STYLE}</style>"
    return (
        f'<!doctype html>\n<html lang="{language}">\n<head>{head}</head>\n'
        f"<body>\n{switch}\n<main>\n{sections}</main>\n</body>\n</html>\n"
    )


def _section(table: Table, language: Language) -> str:
    parts = [
        f"<h1>{escape(render.title(table, language))}</h1>",
        _list(render.summary(table, language)),
        f'<div class="scroll">{_layers(table, language)}</div>',
        f'<div class="notes">{_list(render.notes(language))}</div>',
        f"<h2>{term('By kind of layer', language)}</h2>",
        f'<div class="scroll">{_kinds(table, language)}</div>',
        f"<h2>{term('Arithmetic', language)}</h2>",
    ]
    for number, (head, lines) in enumerate(render.arithmetic(table, language), start=1):
        items = "".join(f"<li><code>{escape(line)}</code></li>" for line in lines)
        parts.append(f'<h3 id="{language}-{number}">{escape(head)}</h3>\n<ul>{items}</ul>')
    return f'<section lang="{language}">\n' + "\n".join(parts) + "\n</section>\n"


def _list(lines: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _layers(table: Table, language: Language) -> str:
    wanted = render.columns(table)
    most = {column: max(int(getattr(row, figure)) for row in table.rows) for column, figure in _BARS.items()}
    lines = []
    for number, (row, running) in enumerate(zip(table.rows, table.running(), strict=True)):
        found = {column: escape(cell) for column, cell in render.cells(number, row, running, language).items()}
        if number:
            found["name"] = f'<a href="#{language}-{number}">{found["name"]}</a>'
        parts = {column: int(getattr(row, figure)) / max(most[column], 1) for column, figure in _BARS.items()}
        lines.append(
            "<tr>" + "".join(_cell(column, found[column], parts.get(column, 0)) for column in wanted) + "</tr>"
        )
    heads = "".join(f"<th{_words(column)}>{escape(render.heading(column, language))}</th>" for column in wanted)
    return f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n" + "\n".join(lines) + "\n</tbody></table>"


def _cell(column: str, content: str, part: float) -> str:
    bar = f' class="bar" style="--part:{100 * part:.1f}%"' if part > 0.001 else ""
    return f"<td{_words(column) or bar}>{content}</td>"


def _words(column: str) -> str:
    return ' class="words"' if column in render.LEFT else ""


def _kinds(table: Table, language: Language) -> str:
    head, *lines = render.kinds(table, language)
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    rows = ("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    return f"<table><thead><tr>{top}</tr></thead><tbody>" + "\n".join(rows) + "</tbody></table>"
