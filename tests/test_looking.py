"""The folder of a look: every picture is there and can be opened, and the page names each and nothing else."""

import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from PIL import Image

from siseon import pictures
from siseon.inspection.activations import Activation
from siseon.interface import Classification, PictureError, RecipeError
from siseon.looking import figures
from siseon.looking.look import excited, look, seen_by, shown
from siseon.looking.words import SENTENCES
from siseon.zoo import create


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "사진 1.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(path)
    return path


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}


def check_page(folder: Path) -> str:
    """All pictures are on the page and there, each with pixels; the page asks nothing of a network."""
    text = (folder / "index.html").read_text(encoding="utf-8")
    named = {unquote(path) for path in re.findall(r'src="([^"]+)"', text)}
    assert named == files_of(folder)
    assert "http" not in text and "<script" not in text
    for name in named:
        with Image.open(folder / name) as picture:
            assert picture.size[0] >= 28 and (name == "input.png" or picture.size[0] <= 1200)
            assert len(picture.convert("L").getcolors()) > 1
    return text


def test_a_chain_with_deconvolution(photo, tmp_path):
    calls = []
    model = create("deep_digits_mini", classes=["하나", "two", *"34567890"]).eval()
    page = look(model, photo, tmp_path / "out", name="m", label="하나", progress=lambda *done: calls.append(done))
    text = check_page(page.parent)
    assert page == tmp_path / "out" / "index.html"
    assert {"input.png", "filters.png", "deconvolution.png", "grad_cam.png", "occlusion.png"} <= files_of(page.parent)
    assert "features/01-body.layers.1.png" in files_of(page.parent)
    assert "하나" in text and "사진 1.png" in text and "1311.2901" in text and "1610.02391" in text
    assert calls[-1][0] == calls[-1][1] > 100


def test_another_network_has_guided_backpropagation_under_its_name(photo, tmp_path):
    page = look(create("mobilenet_mini").eval(), photo, tmp_path / "out", name="m", language="ko", trained=False)
    text = check_page(page.parent)
    assert "guided_backpropagation.png" in files_of(page.parent) and "deconvolution.png" not in files_of(page.parent)
    assert "1412.6806" in text and "무작위" in text and '<html lang="ko">' in text


def test_a_detector_shows_maps_and_says_why_not_more(photo, tmp_path):
    page = look(create("faster_rcnn_mini").eval(), photo, tmp_path / "out", name="m")
    text = check_page(page.parent)
    assert not {"grad_cam.png", "occlusion.png"} & files_of(page.parent)
    text_of_maps = " ".join(sorted(files_of(page.parent)))
    assert "backbone.body.stem" in text_of_maps and "backbone.norms.5" in text_of_maps and "rpn.hidden" in text_of_maps
    assert "they are for classifiers" in text


def test_what_the_network_sees_is_what_predict_gives_it():
    model = create("vgg_mini").eval()
    photo = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    picture, prediction = seen_by(model, photo)
    assert picture.shape == (3, 32, 32)
    assert isinstance(prediction, Classification)
    with torch.no_grad():
        assert torch.allclose(model(picture[None]).softmax(1)[0], prediction.scores, atol=1e-6)
    assert not model._forward_pre_hooks


def test_faults(photo, tmp_path):
    model = create("vgg_mini", classes=["dog", "cat"]).eval()
    with pytest.raises(RecipeError, match=r'no class "dig".*Did you mean "dog"'):
        look(model, photo, tmp_path / "out", name="m", label="dig")
    with pytest.raises(PictureError, match=r"none\.png"):
        look(model, tmp_path / "none.png", tmp_path / "out", name="m")
    assert not (tmp_path / "out").exists()


def test_steps_are_shown_after_their_rectifier_and_of_many_a_part():
    maps = torch.zeros(2, 4, 4)
    chain = [Activation(name, name, maps) for name in ("Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "Conv2d")]
    assert [one.kind for one in shown(chain)] == ["Conv2d + BatchNorm2d + ReLU", "MaxPool2d", "Conv2d"]
    assert [one.name for one in shown(chain)] == ["ReLU", "MaxPool2d", "Conv2d"]
    blocks = [Activation(str(number), "Block", maps) for number in range(50)]
    assert [one.name for one in shown(blocks, 3)] == ["0", "24", "49"]


def test_the_square_around_what_is_excited():
    back = torch.zeros(3, 32, 48)
    back[1, 4, 40], back[0, 11, 45], back[2, 30, 2] = 1.0, -0.5, 0.01
    left, top, right, bottom = excited(back)
    assert left <= 40 and right > 45 and top <= 4 and bottom > 11
    assert right - left == bottom - top < 16 and right <= 48
    assert excited(torch.zeros(3, 8, 9)) == (0, 0, 9, 8)


def test_maps_go_from_dark_to_bright_and_signs_around_grey():
    dark, bright = (figures.coloured(torch.tensor([[value]]), "viridis")[0, 0] for value in (0.0, 1.0))
    tile = figures.map_picture(torch.tensor([[-3.0, 5.0]]), 64)
    assert np.array_equal(tile[0, 0], dark) and np.array_equal(tile[-1, -1], bright) and tile.shape == (32, 64, 3)
    signed = figures.signed_picture(torch.tensor([[[-2.0, 0.0, 2.0]]]))
    assert signed[0, :, 0].tolist() == [0, 128, 255]
    assert figures.signed_picture(torch.zeros(3, 2, 2)).max() == 128


def test_heat_covers_the_picture_only_where_it_is():
    photo = np.full((2, 2, 3), 100, np.uint8)
    laid = figures.overlay(photo, torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    assert laid[0, 0].tolist() == [100, 100, 100] and laid[0, 1].tolist() != [100, 100, 100]


def test_a_plate_is_as_large_as_its_tiles(tmp_path):
    tile = np.zeros((50, 300, 3), np.uint8)
    figures.plate([figures.Row("", [tile] * 3, ["", "가 $x$", ""])], tmp_path / "p.png", columns=2)
    written = pictures.read(tmp_path / "p.png")
    assert written.shape[1] == 2 * 300 + figures.GAP + 2 * figures.MARGIN
    black = (written == 0).all(2)
    assert black[figures.MARGIN : figures.MARGIN + 50, figures.MARGIN : figures.MARGIN + 300].all()


def test_both_languages_say_the_same_figures():
    for name, (english, korean) in SENTENCES.items():
        assert sorted(re.findall(r"{(\w+)}", english)) == sorted(re.findall(r"{(\w+)}", korean)), name
        assert re.search("[가-힣]", korean) or name == "title"
