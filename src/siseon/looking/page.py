"""The page of a look: one file that shows the pictures beside it and says what they are; no network, no script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple
from urllib.parse import quote

from siseon.inspection.words import Language

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.55 system-ui, "Apple SD Gothic Neo", "Malgun Gothic", sans-serif; margin: 2rem auto;
       padding: 0 1rem; max-width: 1180px; }
h1 { font-size: 1.5rem; margin-bottom: .3rem; } h2 { font-size: 1.2rem; margin: 2.4rem 0 .3rem; }
p { max-width: 46rem; margin: .3rem 0 .8rem; } p.note { border-left: 4px solid #d98c00; padding-left: .7rem; }
img { display: block; max-width: 100%; height: auto; margin: 0 0 .7rem; border-radius: 4px; }
img.small { image-rendering: pixelated; min-width: 224px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td { padding: .15rem .8rem .15rem 0; } td.figure { text-align: right; }
"""


class Section(NamedTuple):
    """A part of the page: a heading, sentences, pictures by their path in the folder, and rows of (name, figure)."""

    heading: str
    sentences: Sequence[str] = ()
    pictures: Sequence[str] = ()
    rows: Sequence[tuple[str, str]] = ()


def html(title: str, notes: Sequence[str], sections: Sequence[Section], language: Language) -> str:
    """The whole page."""
    parts = [f"<h1>{escape(title)}</h1>", *(f'<p class="note">{escape(note)}</p>' for note in notes)]
    for section in sections:
        parts.append(f"<h2>{escape(section.heading)}</h2>")
        parts += [f"<p>{escape(one)}</p>" for one in section.sentences]
        if section.rows:
            cells = (
                f'<tr><td>{escape(name)}</td><td class="figure">{escape(value)}</td></tr>'
                for name, value in section.rows
            )
            parts.append("<table>" + "".join(cells) + "</table>")
        parts += [_picture(path, section.heading) for path in section.pictures]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f"<title>{escape(title)}</title><style>{_STYLE}</style>"
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="{language}">\n<head>{head}</head>\n<body>\n{body}\n</body>\n</html>\n'


def _picture(path: str, heading: str) -> str:
    small = ' class="small"' if path == "input.png" else ""
    return f'<img{small} src="{quote(path)}" alt="{escape(heading)}: {escape(path)}" loading="lazy">'
