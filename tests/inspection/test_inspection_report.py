"""What the command prints."""

import pytest
from torch import nn

from siseon.inspection.report import inspect_layer, inspect_model
from siseon.interface import SiseonError

SMALL = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())


@pytest.mark.parametrize(
    ("form", "start"),
    [("text", "Layers of Sequential"), ("markdown", "# Layers"), ("csv", "#,name"), ("html", "<!doctype")],
)
def test_formats_of_a_model(form, start):
    assert inspect_model(SMALL, 8, format=form).startswith(start)


def test_a_model_in_korean_with_formulas():
    assert "계산 과정" in inspect_model(SMALL, (8, 9), language="ko", formulas=True)


def test_a_layer_from_text():
    lines = inspect_layer("conv", "3,32,32", filters=10, kernel=4, stride=2, padding=1).splitlines()
    assert lines[0] == "convolution: 3x32x32 -> 10x16x16"
    assert "    parameters: (4*4*3 + 1)*10 = 490" in lines


@pytest.mark.parametrize(("form", "start"), [("markdown", "# Conv2d의 층"), ("csv", "#,이름"), ("html", "<!doctype")])
def test_a_layer_in_other_formats(form, start):
    made = inspect_layer("conv", (3, 8, 8), filters=2, kernel=3, format=form, language="ko")
    assert made.startswith(start)


@pytest.mark.parametrize("given", ["3,32", "a,b,c", "3x32x32", (3, 32)])
def test_an_input_that_is_no_size(given):
    with pytest.raises(SiseonError, match="is not channels,height,width"):
        inspect_layer("conv", given, filters=2, kernel=3)


def test_an_unknown_format():
    with pytest.raises(SiseonError, match="No format 'pdf'"):
        inspect_model(SMALL, 8, format="pdf")
