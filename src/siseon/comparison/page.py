"""The report as one HTML file that needs nothing else: pictures are inside, the language is chosen without scripts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from siseon.comparison.photographs import Sheet, answering
from siseon.comparison.reading import reading
from siseon.comparison.remarks import conditions, figures, stage_meanings, title
from siseon.comparison.result import Comparison, Result
from siseon.comparison.tables import best, best_of_class, classes_of, columns, heading, shown, stages_of, value
from siseon.comparison.words import COLUMNS, HEADINGS, STAGES, Language, Text

STYLE = """
:root { --ink: #1d1f23; --soft: #62666d; --line: #e2e0dc; --paper: #fff; --mark: #eef4ec; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 68rem; background: var(--paper); color: var(--ink);
  word-break: keep-all; overflow-wrap: break-word;
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", "Apple SD Gothic Neo", "Malgun Gothic", "Noto Sans KR",
  NanumSquare, NanumGothic, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: .5rem 0 1.5rem; }
h2 { font-size: 1.15rem; margin: 2.6rem 0 .8rem; padding-top: .6rem; border-top: 1px solid var(--line); }
ul.reading { padding-left: 1.2rem; font-size: 1.06rem; }
ul.reading li { margin: .45rem 0; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .38rem .6rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: bottom; }
td { white-space: nowrap; }
th { color: var(--soft); font-weight: 600; }
th:first-child, td:first-child, .reason { text-align: left; }
.reason { white-space: normal; color: #9d2f2f; }
td.best { background: var(--mark); font-weight: 700; }
td.wrong { color: #b3261e; }
.answers td { vertical-align: middle; text-align: center; }
.answers img { width: 4.5rem; image-rendering: pixelated; }
figure { margin: 0 0 1.2rem; }
img { max-width: 100%; height: auto; display: block; }
.notes { color: var(--soft); font-size: .9rem; padding-left: 1.2rem; }
.choice { float: right; font-size: .9rem; color: var(--soft); }
.choice label { cursor: pointer; padding: .15rem .5rem; border: 1px solid var(--line); border-radius: .4rem; }
input.language { position: absolute; opacity: 0; }
#en:checked ~ * [lang=ko], #ko:checked ~ * [lang=en] { display: none; }
#en:checked ~ .choice [for=en], #ko:checked ~ .choice [for=ko] { background: var(--ink); color: var(--paper); }
input.language:focus-visible ~ .choice { outline: 2px solid #4e79a7; }
@media print {
  body { max-width: none; padding: 0; background: white; font-size: 11pt; }
  .choice { display: none; }
  h2, figure, tr { break-inside: avoid; }
  h2 { break-after: avoid; }
  .table { overflow: visible; }
  table { font-size: 7.5pt; }
  th, td { padding: .2rem .3rem; }
  td.best { print-color-adjust: exact; }
}
"""


def html(comparison: Comparison, sheets: Sequence[Sheet], languages: tuple[Language, ...]) -> str:
    """The whole page; with two languages the first is shown, the other a click away."""
    heading = title(comparison)
    parts = [
        f"<h1>{both(heading, languages)}</h1>",
        _list(reading(comparison), languages, "reading"),
        _section("results", languages, _results(comparison, languages)),
    ]
    for file, name in figures(comparison):
        body = _picture(comparison.folder / file, heading=HEADINGS[name])
        if name == "stages":
            body += _stages(comparison, languages) + _list(stage_meanings(comparison), languages, "notes")
        if name == "classes":
            body += _classes(comparison, languages)
        parts.append(_section(name, languages, body))
    if sheets:
        parts.append(_section("photos", languages, _photos(comparison, sheets, languages)))
    if comparison.failed:
        texts = [Text(said, said) for said in (f"{result.model}: {result.failure}" for result in comparison.failed)]
        parts.append(_section("failed", languages, _list(texts, languages, "failed")))
    parts.append(_section("conditions", languages, _list(conditions(comparison), languages, "notes")))
    body = "\n".join(parts)
    return f"""<!doctype html>
<html lang="{languages[0]}">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(getattr(heading, languages[0]))}</title>
<style>{STYLE}</style>
<body>
{_choice(languages)}
<main>
{body}
</main>
</body>
</html>
"""


def both(text: Text, languages: tuple[Language, ...]) -> str:
    """A text in each language, of which the page shows one."""
    if len(languages) == 1 or text.en == text.ko:
        return escape(getattr(text, languages[0]))
    return "".join(f'<span lang="{language}">{escape(getattr(text, language))}</span>' for language in languages)


def _choice(languages: tuple[Language, ...]) -> str:
    """Buttons for the language that work without a script; none where there is one language."""
    if len(languages) == 1:
        return ""
    names = {"en": "English", "ko": "한국어"}
    buttons = "".join(
        f'<input class="language" type="radio" name="language" id="{language}"{" checked" * (not number)}>'
        for number, language in enumerate(languages)
    )
    labels = " ".join(f'<label for="{language}">{names[language]}</label>' for language in languages)
    return f'{buttons}<div class="choice">{labels}</div>'


def _section(name: str, languages: tuple[Language, ...], body: str) -> str:
    return f"<h2>{both(HEADINGS[name], languages)}</h2>\n{body}"


def _list(texts: Sequence[Text], languages: tuple[Language, ...], kind: str) -> str:
    items = "\n".join(f"<li>{both(text, languages)}</li>" for text in texts)
    return f'<ul class="{kind}">\n{items}\n</ul>\n'


def _results(comparison: Comparison, languages: tuple[Language, ...]) -> str:
    names = columns(comparison)
    head = "".join(f"<th>{both(heading(comparison, name), languages)}</th>" for name in ("model", *names))
    rows = []
    for result in comparison.results:
        if result.failure:
            rows.append(
                f'<tr><td>{escape(result.model)}</td><td class="reason" colspan="{len(names)}">'
                f"{escape(result.failure)}</td></tr>"
            )
        else:
            cells = "".join(_cell(comparison, result, name) for name in names)
            rows.append(f"<tr><td>{escape(result.model)}</td>{cells}</tr>")
    return _table(head, rows)


def _cell(comparison: Comparison, result: Result, column: str) -> str:
    number = value(result, column)
    return _marked(shown(column, number), marked=number == best(comparison, column))


def _stages(comparison: Comparison, languages: tuple[Language, ...]) -> str:
    """The milliseconds of each stage; what takes longest is marked."""
    stages = stages_of(comparison)
    head = f"<th>{both(COLUMNS['model'], languages)}</th>"
    head += "".join(f"<th>{both(STAGES[stage], languages)}</th>" for stage in stages)
    head += f"<th>{both(COLUMNS['milliseconds'], languages)}</th>"
    rows = []
    for result in answering(comparison):
        most = max(result.stages.values())
        cells = "".join(_time(result.stages.get(stage), most) for stage in stages)
        total = shown("milliseconds", result.milliseconds)
        rows.append(f"<tr><td>{escape(result.model)}</td>{cells}<td>{total}</td></tr>")
    return _table(head, rows)


def _classes(comparison: Comparison, languages: tuple[Language, ...]) -> str:
    """The figure of each class, a column for each model; the best is marked."""
    head = f"<th>{both(HEADINGS['class'], languages)}</th>"
    head += "".join(f"<th>{escape(result.model)}</th>" for result in comparison.finished)
    rows = []
    for name in classes_of(comparison):
        most = best_of_class(comparison, name)
        figures = [result.of_class(name) for result in comparison.finished]
        cells = "".join(_marked(shown("mean_IoU", figure), marked=figure == most) for figure in figures)
        rows.append(f"<tr><td>{escape(name)}</td>{cells}</tr>")
    return _table(head, rows)


def _marked(text: str, *, marked: bool) -> str:
    mark = ' class="best"' if marked else ""
    return f"<td{mark}>{escape(text)}</td>"


def _time(time: float | None, most: float) -> str:
    if time is None:
        return "<td>–</td>"
    return _marked(shown("milliseconds", time), marked=time == most)


def _photos(comparison: Comparison, sheets: Sequence[Sheet], languages: tuple[Language, ...]) -> str:
    if comparison.task != "classification":
        return "\n".join(f"<figure>{_image(sheet.file, sheet.file.stem)}</figure>" for sheet in sheets)
    head = f"<th></th><th>{both(HEADINGS['truth'], languages)}</th>"
    head += "".join(f"<th>{escape(result.model)}</th>" for result in answering(comparison))
    rows = []
    for sheet in sheets:
        answers = "".join(
            f"<td>✓ {escape(answer)}</td>" if right else f'<td class="wrong">✗ {escape(answer)}</td>'
            for answer, right in sheet.answers
        )
        rows.append(f"<tr><td>{_image(sheet.file, sheet.truth)}</td><td>{escape(sheet.truth)}</td>{answers}</tr>")
    return f'<div class="answers">{_table(head, rows)}</div>'


def _table(head: str, rows: Sequence[str]) -> str:
    body = "\n".join(rows)
    return f'<div class="table"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>\n'


def _picture(file: Path, *, heading: Text) -> str:
    return f"<figure>{_image(file, heading.en)}</figure>\n"


def _image(file: Path, meaning: str) -> str:
    """A picture with its bytes inside the page."""
    kind = "png" if file.suffix == ".png" else "jpeg"
    inside = base64.b64encode(file.read_bytes()).decode()
    return f'<img src="data:image/{kind};base64,{inside}" alt="{escape(meaning)}">'
