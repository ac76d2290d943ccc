"""Pictures too small for a network are refused in one line, other odd ones are taken: every family, without memory."""

from functools import cache

import pytest
import torch

from siseon import zoo
from siseon.interface import Classification, SiseonError

FIRST = [next(iter(family.variants)) for family in zoo.FAMILIES if family.task == "classification"]
OTHERS = ["alexnet_one_tower", "googlenet_bn", "network_in_network_imagenet"]
MINIS = [name for name in zoo.names("classification") if name.endswith("_mini")]
NAMES = sorted({*FIRST, *OTHERS, *MINIS})


@cache
def on_meta(name):
    with torch.device("meta"):
        return zoo.create(name).eval()


def logits(model, height, width):
    return model(torch.empty(2, 3, height, width, device="meta"))


def least(model):
    return model.body.least if hasattr(model, "body") else 1


@pytest.mark.parametrize("name", NAMES)
def test_small_pictures_give_an_answer_or_one_line_with_the_least_size(name):
    model = on_meta(name)
    for height, width in ((1, 1), (16, 16), (1, 64), (64, 1)):
        if min(height, width) >= least(model):
            assert logits(model, height, width).shape == (2, len(model.classes))
            continue
        with pytest.raises(SiseonError) as fault:
            logits(model, height, width)
        said = str(fault.value)
        assert f"{height} x {width} pixels" in said and f"needs {least(model)} pixels" in said
        assert "\n" not in said


@pytest.mark.parametrize("name", NAMES)
def test_the_least_size_is_enough_and_one_pixel_less_is_not(name, monkeypatch):
    model = on_meta(name)
    side = least(model)
    assert logits(model, side, side + 3).shape == (2, len(model.classes))
    if side > 1:
        with pytest.raises(SiseonError):
            logits(model, side - 1, side + 3)
        # not stricter than need be: without the check torch itself would complain, or average over nothing
        monkeypatch.setattr(model.body, "least", 1)
        try:
            small = model.body.features(torch.empty(1, 3, side - 1, side - 1, device="meta"))
        except RuntimeError:
            return
        assert name.startswith("lenet") or min(small[-1].shape) == 0


@pytest.mark.parametrize("name", NAMES)
def test_pictures_need_not_be_square(name):
    model = on_meta(name)
    high, wide = model.crop + model.crop // 2, model.crop + 1
    for height, width in ((high, wide), (wide, high)):
        assert logits(model, height, width).shape == (2, len(model.classes))


@pytest.mark.parametrize("name", MINIS)
def test_predict_scales_pictures_of_any_size(name):
    model = zoo.create(name, classes=("하나", "둘"))
    for found in model.predict([torch.rand(3, 1, 1), torch.rand(3, 3, 50), torch.rand(3, 70, 33)]):
        assert isinstance(found, Classification)
        assert found.scores.sum().item() == pytest.approx(1)
