"""The files of `siseon style`: any mode of picture, the right shape, losses as a table and a plot."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from siseon import painting, zoo
from siseon.interface import PictureError
from siseon.painting import paint


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return zoo.create("vgg_mini").eval()


def picture(mode, size):
    random = np.random.default_rng(0)
    shape = {"L": size[::-1], "RGB": (*size[::-1], 3), "RGBA": (*size[::-1], 4)}[mode]
    return Image.fromarray(random.integers(0, 255, shape, dtype=np.uint8))


@pytest.mark.parametrize(
    ("mode", "size", "wanted"),
    [("L", (60, 40), (32, 21)), ("RGBA", (40, 60), (21, 32)), ("RGBA", (1500, 1000), (32, 21))],
)
def test_any_photo_becomes_a_painting_of_its_shape(mode, size, wanted, network, tmp_path):
    picture(mode, size).save(tmp_path / "사진.png")
    picture("L", (50, 50)).save(tmp_path / "그림.png")
    said, done = [], []
    result = paint(
        tmp_path / "사진.png", tmp_path / "그림.png", network, tmp_path / "결과", size=32, steps=3, say=said.append,
        progress=lambda *step: done.append(step),
    )  # fmt: skip
    with Image.open(result) as made:
        assert (made.size, made.mode) == (wanted, "RGB")
    with (tmp_path / "결과" / "losses.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2", "3"] and {row["side"] for row in rows} == {"32"}
    assert list(rows[0]) == list(painting.COLUMNS)
    assert done == [(1, 3), (2, 3), (3, 3)] and len(said) == 1 and said[0].startswith("32 pixels: content")
    assert (tmp_path / "결과" / "losses.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "결과" / "steps").iterdir())) == 3


def test_a_photo_that_is_none_is_named(network, tmp_path):
    (tmp_path / "사진.jpg").write_text("text")
    picture("RGB", (40, 40)).save(tmp_path / "그림.png")
    with pytest.raises(PictureError, match=r"사진\.jpg"):
        paint(tmp_path / "사진.jpg", tmp_path / "그림.png", network, tmp_path / "out", size=32, steps=1)
    assert not (tmp_path / "out").exists()
