"""The table as text, Markdown, CSV and a web page, in both languages."""

import csv
import io
import re
import unicodedata
from html.parser import HTMLParser
from typing import get_args

import pytest
from textbook_networks import vgg
from torch import nn

from siseon.inspection.rows import Kind
from siseon.inspection.table import Table, table
from siseon.inspection.words import term
from siseon.interface import SiseonError


@pytest.fixture(scope="module")
def small() -> Table:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, groups=1), nn.ReLU(True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5)
    )
    return table(network, (14, 15))


def width(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in line)


def test_text_has_totals_and_places_of_most():
    text = table(vgg(), 224).to_text()
    assert "Parameters: 138,357,544 (weights 138,344,128, biases 13,416)" in text
    assert "15,237,608 values = 60.95 MB (58.13 MiB), fp32, input included" in text
    assert "MACs: 15,470,264,320" in text
    assert "Most parameters: 32 (fully connected), 102,764,544, 74.3 % of all" in text
    assert "Most activation memory: 0 (convolution), 3,211,264 values, 21.1 % of all" in text


@pytest.mark.parametrize("language", ["en", "ko"])
def test_columns_are_aligned(small, language):
    lines = small.to_text(language).splitlines()[2 : 3 + len(small.rows)]
    assert len({width(line) for line in lines}) == 1


def test_korean_uses_the_usual_terms(small):
    text = small.to_text("ko", formulas=True)
    for word in (
        "합성곱",
        "최대 풀링",
        "완전 연결",
        "수용 영역",
        "매개변수",
        "활성값 메모리",
        "곱셈-누산 (MACs)",
        "출력 크기",
    ):
        assert word in text


def test_every_kind_has_a_korean_name():
    assert all(re.search("[가-힣]", term(kind, "ko")) for kind in get_args(Kind))


def test_formulas_only_on_request(small):
    assert "O = (I + 2P" not in small.to_text()
    assert "O = (I + 2P" in small.to_text(formulas=True)


def test_dilation_and_groups_appear_only_where_a_layer_has_them(small):
    assert " D " not in small.to_text().splitlines()[2]
    dilated = table(nn.Conv2d(3, 3, 3, dilation=2), 9).to_text().splitlines()[2]
    assert " D " in dilated and " G " not in dilated


@pytest.mark.parametrize("language", ["en", "ko"])
def test_markdown_rows_have_all_columns(small, language):
    lines = [line for line in small.to_markdown(language, formulas=True).splitlines() if line.startswith("|")]
    layers = lines[: len(small.rows) + 2]
    assert len({line.count("|") for line in layers}) == 1
    assert layers[1].startswith("|--:|:--|")


def test_csv_holds_plain_numbers(small):
    rows = list(csv.DictReader(io.StringIO(small.to_csv())))
    assert len(rows) == len(small.rows)
    assert sum(int(row["weights"]) + int(row["biases"]) for row in rows) == small.totals.parameters
    assert int(rows[-1]["bytes so far"]) == small.totals.bytes
    assert (rows[1]["input size"], rows[1]["output size"], rows[1]["kernel"]) == ("3x14x15", "4x6x7", "3x3")
    assert (rows[1]["receptive field"], rows[1]["jump"], rows[1]["layer"]) == ("3x3", "2x2", "convolution")
    korean = next(csv.reader(io.StringIO(small.to_csv("ko"))))
    assert korean[1:3] == ["이름", "층"]


class Page(HTMLParser):
    """Checks that tags are balanced; collects languages, addresses, anchors and text."""

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, name: str) -> list[str | None]:
        return [value for key, value in self.attributes if key == name]


@pytest.mark.parametrize("language", ["en", "ko"])
def test_page_is_whole_offline_and_in_both_languages(small, language):
    page = Page(small.to_html(language))
    assert page.open == []
    assert {"en", "ko"} <= set(page.all("lang"))
    assert not page.all("src")
    links = page.all("href")
    assert len(links) == 2 * (len(small.rows) - 1)
    assert all(link[1:] in page.all("id") for link in links)
    assert "최대 풀링" in page.text and "max pooling" in page.text
    assert "O = (I + 2P - D(K-1) - 1)/S + 1 = (14 + 0 - 3)/2 + 1 = 6.5 -> 6" in page.text
    assert f'id="{language}" checked' in small.to_html(language)


def test_names_are_escaped_in_the_page():
    network = nn.Sequential()
    network.add_module("<b>&", nn.Conv2d(3, 3, 1))
    found = table(network, 4)
    assert "<b>" not in found.to_html()
    assert "&lt;b&gt;&amp;" in found.to_html()


@pytest.mark.parametrize("write", [Table.to_text, Table.to_markdown, Table.to_csv, Table.to_html])
def test_an_unknown_language(small, write):
    with pytest.raises(SiseonError, match="'fr'"):
        write(small, "fr")


def test_an_asymmetric_padding_is_shown():
    assert "1+1" in table(nn.Conv2d(3, 2, 4, padding="same"), 8).to_text()
    assert "(8 + 2*1 + 1 - 4)/1 + 1 = 8" in table(nn.Conv2d(3, 2, 4, padding="same"), 8).to_text(formulas=True)
