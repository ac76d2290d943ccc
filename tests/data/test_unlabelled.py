import numpy as np
import pytest
from PIL import Image

from siseon.data.dataset import Data
from siseon.data.unlabelled import are_grey, open_pictures
from siseon.interface import DataError


def write(path, colour=(10, 20, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((12, 14, 3), colour, np.uint8)).save(path)


def test_a_folder_of_pictures_needs_no_classes(tmp_path):
    folder = tmp_path / "사진"
    for number in range(3):
        write(folder / f"{number}.png", (number, 20, 30))
    write(folder / "images" / "더" / "4.png")
    (folder / "broken.png").write_bytes(b"text")
    data = open_pictures(folder)
    assert isinstance(data, Data) and (data.name, data.classes, list(data.splits)) == ("사진", ("picture",), ["train"])
    assert len(data.train) == 4 and data.train.picture(1).shape == (12, 14, 3)
    assert any("broken.png" in str(problem) for problem in data.problems)


def test_a_data_set_that_is_known_stays_what_it_is(tmp_path):
    for name in ("꽃", "나무"):
        for number in range(5):
            write(tmp_path / "train" / name / f"{number}.png", (number, 1, 2))
            write(tmp_path / "val" / name / f"{number}.png", (number, 3, 4))
    data = open_pictures(tmp_path)
    assert data.classes == ("꽃", "나무") and {"train", "val"} == set(data.splits)
    assert open_pictures("digits").classes == tuple("0123456789")


def test_nothing_to_open_is_said(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        open_pictures(tmp_path / "nowhere")
    (tmp_path / "text.txt").write_text("no picture")
    with pytest.raises(DataError, match="holds no pictures"):
        open_pictures(tmp_path)
    (tmp_path / "a.png").write_bytes(b"text")
    with pytest.raises(DataError, match="no picture can be read"):
        open_pictures(tmp_path)


def test_grey_is_seen(tmp_path):
    for number in range(20):
        write(tmp_path / "grey" / f"{number}.png", (number, number, number))
        write(tmp_path / "mixed" / f"{number}.png", (number, number, number if number != 19 else 200))
    assert are_grey(open_pictures(tmp_path / "grey").train)
    assert not are_grey(open_pictures(tmp_path / "mixed").train)
    assert are_grey(open_pictures("digits").train)
