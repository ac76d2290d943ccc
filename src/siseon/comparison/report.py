"""What a race leaves to look at in its folder."""

from __future__ import annotations

from collections.abc import Sequence

from siseon.comparison import figures, photographs
from siseon.comparison.markdown import markdown
from siseon.comparison.page import html
from siseon.comparison.photographs import Photo
from siseon.comparison.result import Comparison
from siseon.comparison.tables import csv_text
from siseon.comparison.words import Language
from siseon.report import write_json


def write(comparison: Comparison, photos: Sequence[Photo], languages: tuple[Language, ...]) -> None:
    """Write index.html (nothing else is needed to open it), README.md, compare.csv, compare.json, plots and photos.

    photos: the pictures that the models were timed on, with their answers.
    """
    folder = comparison.folder
    figures.draw(comparison, languages)
    sheets = photographs.draw(comparison, photos, languages)
    write_json(comparison.to_json(), folder / "compare.json")
    (folder / "compare.csv").write_text(csv_text(comparison), encoding="utf-8-sig")
    (folder / "README.md").write_text(markdown(comparison, sheets, languages), encoding="utf-8")
    (folder / "index.html").write_text(html(comparison, sheets, languages), encoding="utf-8")
