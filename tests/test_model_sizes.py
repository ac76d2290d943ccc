"""The kept sizes of the models: every model is in the file, and the cheap ones are counted again."""

from io import StringIO

import pytest
from rich.console import Console

from siseon import model_sizes, zoo


@pytest.fixture(scope="module")
def known():
    return model_sizes.kept()


def test_every_model_is_in_the_file_with_its_present_arguments(known):
    old = [name for name in zoo.names() if name not in known or known[name].arguments != model_sizes.digest(name)]
    assert not old, f"run python -m siseon.model_sizes for {old}"


@pytest.mark.parametrize(
    "name", ["mlp", "lenet", "lenet_modern", "alexnet", "vgg_mini", "zfnet_mini", "deep_digits", "mobilenet_mini"]
)
def test_cheap_models_are_counted_again(name, known):
    assert model_sizes.counted(name) == known[name]


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    # MACs: VGG's and AlexNet's convolutions and linear layers by hand; MobileNets: table 4 of V2, 569 M and 300 M
    [
        ("vgg16", 138_357_544, 15_470_264_320),
        ("alexnet", 60_965_224, 724_406_816),
        ("lenet_modern", 61_706, 416_520),
        ("faster_rcnn_resnet50_fpn", 41_808_406, 134_379_721_216),  # torchvision's documentation: 134.38 G
        ("mobilenet_v1", 4_231_976, 568_740_352),
        ("mobilenet_v2", 3_504_872, 300_774_272),
    ],
)
def test_published_figures(name, parameters, macs, known):
    assert known[name][:2] == (parameters, macs)


def test_a_model_that_is_not_in_the_file_or_changed_is_counted(monkeypatch):
    kept = {"lenet": model_sizes.Count(1, 2, 3, "other"), "mlp": model_sizes.Count(1, 2, 3, model_sizes.digest("mlp"))}
    assert model_sizes.current("lenet", kept).parameters == 60_000
    assert model_sizes.current("lenet", {}).parameters == 60_000
    assert model_sizes.current("mlp", kept).parameters == 1


def test_writing_counts_only_what_is_missing(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(zoo, "names", lambda task=None: ["mlp", "lenet"])
    monkeypatch.setattr(model_sizes, "kept", lambda: {"mlp": model_sizes.counted("mlp")})
    model_sizes.write(tmp_path / "models.csv")
    assert capsys.readouterr().err.split() == ["counting", "lenet"]
    head, *lines = (tmp_path / "models.csv").read_text(encoding="utf-8").splitlines()
    assert head == ",".join(model_sizes.FIELDS)
    assert [line.split(",")[0] for line in lines] == ["mlp", "lenet"]


def test_rows_of_a_task(monkeypatch):
    rows = {row["name"]: row for row in model_sizes.rows("classification")}
    assert rows["vgg16"]["macs"] == 15_470_264_320 and rows["vgg16"]["image_size"] == 224
    assert {row["task"] for row in rows.values()} == {"classification"}
    assert set(rows) == set(zoo.names("classification"))


def test_the_table_fits_a_narrow_terminal():
    console = Console(width=80, record=True, file=StringIO())
    console.print(model_sizes.text(model_sizes.rows()))
    lines = console.export_text().splitlines()
    assert len(lines) == 1 + len(zoo.names())
    row = next(line for line in lines if line.startswith("vgg16 "))
    assert "2014" in row and "classification" in row and "138,357,544" in row and "15.5 G" in row and " 224 " in row
