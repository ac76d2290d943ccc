"""What a race leaves to look at, from made-up results."""

import csv
import json
import math
import re
from dataclasses import replace

import pytest
from made_up_race import comparison, photos, result
from PIL import Image

from siseon.comparison import figures, page, photographs, remarks, tables
from siseon.comparison.report import write
from siseon.comparison.result import Comparison, Result, read
from siseon.comparison.result import write as write_result
from siseon.comparison.words import SIZES

NAMES = ("rcnn_mini", "ssd_mini")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The report of three detectors, one of which failed."""
    root = tmp_path_factory.mktemp("경주 결과")
    one = result("rcnn_mini", 0.31, small=0.1, stages={"proposals": 90.0, "features": 900.0, "rest": 2.0})
    two = result("ssd_mini", 0.7, small=0.3, stages={"features": 8.0, "selection": 2.0, "rest": 1.0}, macs=math.nan)
    failed = Result("yolo", "yolo_mini", failure="the loss | is <nan>")
    write(comparison(root, one, two, failed), photos(*NAMES), ("en", "ko"))
    return root


def test_everything_is_there(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    plots = {"stages.png", "accuracy_speed.png", "sizes.png"}
    texts = {"index.html", "README.md", "compare.csv", "compare.json"}
    assert names == plots | texts | {"photos/01.jpg", "photos/02.jpg"}
    for name in plots:
        picture = Image.open(folder / name).convert("RGB")
        assert picture.height > 250 and picture.width > 700
        assert len(picture.getcolors(picture.width * picture.height)) > 50


def test_the_page_needs_nothing_else(folder):
    text = (folder / "index.html").read_text(encoding="utf-8")
    sources = set(re.findall(r'(?:src|href)="([^",]*)', text))
    assert sources == {"data:image/png;base64", "data:image/jpeg;base64"}
    assert not re.search(r"https?://|<script|url\(|@import", text)
    assert text.count('src="data:image/') == 5


def test_the_page_is_in_both_languages(folder):
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert "ssd_mini is the fastest" in text and "가장 빠른 것은 ssd_mini로" in text
    assert text.count('<span lang="en">') == text.count('<span lang="ko">') > 20
    assert 'id="en" checked' in text and "checked" not in text[text.index('id="ko"') : text.index('id="ko"') + 15]


def test_settings_of_single_models_are_named(tmp_path):
    own = {"ssd": {"lr": 0.001, "options": {"wide": 192}}, "rcnn": {"batch": 2}}
    one = replace(comparison(tmp_path, result("rcnn_mini"), result("ssd_mini")), own=own)
    said = [text for text in remarks.conditions(one) if "single models" in text.en]
    assert [text.en for text in said] == [
        "Set otherwise for single models: ssd: lr = 0.001, wide = 192; rcnn: batch = 2."
    ]
    assert "ssd: lr = 0.001, wide = 192" in said[0].ko
    assert not any("single models" in text.en for text in remarks.conditions(comparison(tmp_path, result("rcnn_mini"))))


def test_how_many_objects_an_accuracy_is_of_stands_over_it(tmp_path):
    counts = {"objects_small": 1234.0, "objects_medium": 1.0, "objects_large": 0.0}
    known = result("ssd_mini", 0.6, small=0.2)
    race = comparison(tmp_path, replace(known, figures={**known.figures, **counts}), result("yolo_mini"))
    assert tables.heading(race, "AP_small") == ("AP small (1,234)", "AP 작은 물체(1,234개)")
    assert [tables.heading(race, name).en for name in ("AP", "AP_medium")] == ["AP", "AP medium (1)"]
    (row, _) = csv.DictReader(tables.csv_text(race).splitlines())
    assert row["objects_small"] == "1234" and row["AP_small"] == "0.2"
    write(race, photos("ssd_mini", "yolo_mini"), ("en", "ko"))
    page_text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "AP 작은 물체(1,234개)" in page_text and "AP small (1,234)" in page_text
    assert "AP small (1,234) · AP 작은 물체(1,234개)" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert figures._with_count(SIZES["AP_medium"], 1.0, ("en", "ko")) == "medium: 1 object\n중간: 1개"


def test_models_with_masks_have_the_figures_of_masks(tmp_path):
    known = result("mask_rcnn_mini", 0.6)
    with_masks = replace(known, figures={**known.figures, "mask_AP50": 0.55, "mask_AP": 0.31})
    race = comparison(tmp_path, result("ssd_mini", 0.5), with_masks)
    assert tables.columns(race)[:4] == ("AP50", "AP", "mask_AP50", "mask_AP")
    first, second = csv.DictReader(tables.csv_text(race).splitlines())
    assert (first["mask_AP50"], second["mask_AP50"], second["mask_AP"]) == ("", "0.55", "0.31")
    assert "mask_AP" not in tables.columns(comparison(tmp_path, result("ssd_mini")))


def test_a_failure_is_named_and_harmless(folder):
    page_text = (folder / "index.html").read_text(encoding="utf-8")
    assert page_text.count("the loss | is &lt;nan&gt;") == 2 and "<nan>" not in page_text
    assert "- yolo_mini: the loss | is <nan>" in (folder / "README.md").read_text(encoding="utf-8")


def test_the_best_is_marked(folder):
    rows = re.findall(r"<tr>.*?</tr>", (folder / "index.html").read_text(encoding="utf-8"))
    ssd = next(row for row in rows if "ssd_mini</td>" in row)
    assert '<td class="best">0.700</td>' in ssd and '<td class="best">11.0</td>' in ssd
    assert "**0.700**" in (folder / "README.md").read_text(encoding="utf-8")


def test_the_csv_has_plain_numbers(folder):
    with (folder / "compare.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert rows["ssd_mini"]["AP50"] == "0.7" and rows["ssd_mini"]["milliseconds"] == "11"
    assert rows["rcnn_mini"]["features_ms"] == "900" and rows["ssd_mini"]["proposals_ms"] == ""
    assert rows["yolo_mini"]["failure"] == "the loss | is <nan>" and rows["ssd_mini"]["macs"] == ""


def test_the_json_is_json(folder):
    values = json.loads((folder / "compare.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert [entry["milliseconds"] for entry in values["results"]] == [992.0, 11.0, None]
    assert "folder" not in values and values["data"] == "scenes"


def test_markdown_names_only_files_that_are_there(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    files = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert len(files) == 5 and all((folder / file).exists() for file in files)
    lengths = {len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("|")}
    assert len(lengths) == 1


def test_one_language_alone(tmp_path):
    results = (result("ssd_mini", 0.7, small=0.3), result("yolo", 0.5, small=0.2))
    korean = page.html(comparison(tmp_path, *results), [], ("ko",)) if figures.draw(
        comparison(tmp_path, *results), ("ko",)
    ) else ""  # fmt: skip
    assert "is the fastest" not in korean and "속도가 거의 같다" in korean
    assert "<label" not in korean and '<html lang="ko">' in korean


def test_classifiers(tmp_path):
    results = [result(name, value, task="classification") for name, value in (("lenet", 0.9), ("vgg16", 0.95))]
    write(
        comparison(tmp_path, *results, task="classification"), photos("lenet", "vgg16", task="classification"), ("en",)
    )
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert text.count("✓ star (80%)") == 4 and not (tmp_path / "sizes.png").exists()
    assert "| star | ✓ star (80%) | ✓ star (80%) |" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_segmenters(tmp_path, monkeypatch):
    said = []
    sheet = photographs.drawing.contact_sheet
    monkeypatch.setattr(
        photographs.drawing, "contact_sheet", lambda tiles, words, columns: said.append(words) or sheet(tiles, words)
    )
    figures = {"fcn": (0.5, {"원": 0.7, "star": 0.3}), "segnet": (0.45, {"원": 0.8, "star": math.nan})}
    results = [result(name, iou, task="segmentation", per_class=rows) for name, (iou, rows) in figures.items()]
    race = comparison(tmp_path, *results, Result("c", "c", failure="no"), task="segmentation")
    write(race, photos("fcn", "segnet", task="segmentation"), ("en", "ko"))
    assert said[0] == ["truth · 정답", "fcn (32%)", "segnet (32%)"]  # 16 x 16 of 20 x 40 known pixels
    names = {path.name for path in tmp_path.rglob("*.??g")}
    assert names == {"stages.png", "accuracy_speed.png", "classes.png", "01.jpg", "02.jpg"}
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "3 segmenters on scenes" in text and "분할 모델 3개" in text
    assert '<td>원</td><td>0.700</td><td class="best">0.800</td>' in text and "<td>0.300</td><td>–</td>" in text
    assert "| 원 | 0.700 | **0.800** |" in (tmp_path / "README.md").read_text(encoding="utf-8")
    with (tmp_path / "compare.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert rows["segnet"]["IoU_원"] == "0.8" and rows["segnet"]["IoU_star"] == rows["c"]["mean_IoU"] == ""
    assert rows["fcn"]["mean_IoU"] == "0.5"
    terminal = tables.text(race)
    assert "mean IoU" in terminal and "0.800" in terminal


def test_a_race_that_nobody_finished(tmp_path):
    failed = Result("yolo", "yolo_mini", failure="the loss is nan")
    write(comparison(tmp_path, failed, pictures=0), photos(), ("en", "ko"))
    assert "the loss is nan" in (tmp_path / "index.html").read_text(encoding="utf-8")
    assert not (tmp_path / "stages.png").exists()


@pytest.mark.parametrize(
    ("column", "number", "text"),
    [
        ("AP50", 0.8126, "0.813"),
        ("parameters", 41_808_406, "41.8 M"),
        ("macs", 4.09e9, "4.09 G"),
        ("macs", 416_000, "416 k"),
        ("parameters", 12, "12"),
        ("milliseconds", 0.314, "0.31"),
        ("milliseconds", 1850.2, "1,850"),
        ("epochs", 1234.0, "1,234"),
        ("peak", math.nan, "–"),
        ("peak", 0.3, "< 1"),
    ],
)
def test_figures_as_people_read_them(column, number, text):
    assert tables.shown(column, number) == text


def test_a_result_is_kept_whole(tmp_path):
    given = result("ssd_mini", 0.7, noise=0.01, peak=math.nan, failure="오류")
    write_result(given, tmp_path / "result.json")
    found = read(tmp_path / "result.json")
    assert found.figures["AP50"] == 0.7 and found.without["AP50"] == given.without["AP50"]
    assert math.isnan(found.peak) and math.isnan(found.figures["AP_small"]) and found.failure == "오류"
    assert found.milliseconds == given.milliseconds == 11.0


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"name": "a"}', b"\xff"])
def test_a_damaged_result_is_none(tmp_path, content):
    if content is not None:
        (tmp_path / "result.json").write_bytes(content)
    assert read(tmp_path / "result.json") is None


def test_finished_and_failed(tmp_path):
    race = comparison(tmp_path, result("a"), Result("b", "b", failure="no"))
    assert isinstance(race, Comparison)
    assert [r.model for r in race.finished] == ["a"] and [r.model for r in race.failed] == ["b"]
