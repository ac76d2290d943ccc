"""The command line with maps of classes: train, evaluate, predict, check, and portraits."""

import json

import numpy as np
import pytest
from PIL import Image

from siseon import weights
from siseon.training import records


@pytest.fixture
def streets(tmp_path):
    """Pictures of a red road under a blue sky, with maps; the classes stand in classes.txt."""
    root = tmp_path / "거리"
    random = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2), ("test", 2)):
        for number in range(count):
            horizon = int(random.integers(16, 48))
            pixels = random.integers(0, 60, (64, 64, 3), dtype=np.uint8)
            pixels[:horizon, :, 2] += 150
            pixels[horizon:, :, 0] += 150
            labels = np.zeros((64, 64), np.uint8)
            labels[horizon:] = 1
            for folder, content in (("images", pixels), ("masks", labels)):
                (root / folder / split).mkdir(parents=True, exist_ok=True)
                Image.fromarray(content).save(root / folder / split / f"{number}.png")
    (root / "classes.txt").write_text("하늘\n길\n", encoding="utf-8")
    return root


def test_train_evaluate_predict(run, streets, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "plot", lambda rows: b"a picture")
    words = ("--imgsz", 64, "--epochs", 6, "--batch", 2, "--lr", 0.005, "--workers", 0, "--scale", 1, 1)
    narrow = ("--options", 'backbone_options={"widths": [16, 16, 32, 32]}', "hidden=32")
    code, out, err = run("train", "fcn_mini", "--data", streets, *words, *narrow, "--out", tmp_path / "학습")
    assert (code, err) == (0, "")
    assert "mean_IoU" in out and "길" in out
    rows = (tmp_path / "학습" / "metrics.csv").read_text().splitlines()
    assert "mean_IoU" in rows[0]
    code, out, _ = run("evaluate", tmp_path / "학습", "--out", tmp_path / "report")
    figures = json.loads((tmp_path / "report" / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    assert code == 0 and figures["mean_IoU"] > 0.7
    assert {file.name for file in (tmp_path / "report").iterdir()} >= {"examples.png", "confusion.png"}
    code, out, _ = run("predict", tmp_path / "학습", streets / "images" / "test", "--out", tmp_path / "found")
    assert code == 0 and "길" in out
    assert (tmp_path / "found" / "maps" / "0.png").exists()


def test_a_detector_does_not_learn_maps(run, streets):
    code, _, err = run("train", "faster_rcnn_mini", "--data", streets)
    assert code == 2 and "the model is for detection, the data for segmentation" in err


def test_check_says_in_how_many_pictures_a_class_is(run, streets):
    code, out, _ = run("check", streets)
    assert code == 0 and "segmentation, classes: 2" in out
    assert [line.split() for line in out.splitlines() if line.strip().startswith("길")] == [["길", "6", "2", "2"]]


def test_a_portrait_of_a_run(run, streets, tmp_path):
    model = weights.build("fcn_mini", classes=["하늘", "길"])
    model.score.bias.data[:] = model.score.bias.new_tensor([0.0, 1.0])
    file = weights.save(model, tmp_path / "model.safetensors")
    photo = streets / "images" / "test" / "0.png"
    code, out, _ = run("portrait", photo, "--model", file, "--class", "길", "--out", tmp_path / "out")
    assert code == 0 and "1 of 1 photos" in out
    with Image.open(tmp_path / "out" / "0.png") as image:
        assert image.size == (64, 64)
    code, _, err = run("portrait", photo, "--model", file, "--class", "하늘", "--out", tmp_path / "out2")
    assert code == 2 and "no 하늘 was found" in err
    code, _, err = run("portrait", photo, "--model", file)
    assert code == 2 and 'knows no class "person"' in err
