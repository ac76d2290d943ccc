"""The table of activation functions against their formulae, and against what it says of them."""

import math

import pytest
import torch
from PIL import Image
from torch import nn

from siseon.activations import ACTIVATIONS, Maxout, activation, pieces, plot, values
from siseon.interface import RecipeError

FORMULAE = {
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": lambda x: (math.exp(x) - math.exp(-x)) / (math.exp(x) + math.exp(-x)),
    "relu": lambda x: max(0, x),
    "leaky_relu": lambda x: max(0.01 * x, x),
    "prelu": lambda x: x if x > 0 else 0.25 * x,
    "maxout": lambda x: max(x, -x / 2),
    "elu": lambda x: x if x > 0 else math.exp(x) - 1,
    "selu": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * (math.exp(x) - 1)),
    "identity": lambda x: x,
}
POINTS = torch.tensor([-6.0, -2.5, -1, -0.1, 0.1, 0.7, 1, 3, 6], dtype=torch.float64)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_and_derivatives_are_those_of_the_formula(name):
    formula, step = FORMULAE[name], 1e-6
    y, slope = values(name, POINTS)
    assert y.tolist() == pytest.approx([formula(x) for x in POINTS.tolist()], abs=1e-7)
    numeric = [(formula(x + step) - formula(x - step)) / (2 * step) for x in POINTS.tolist()]
    assert slope.tolist() == pytest.approx(numeric, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "x", "slope"),
    [
        ("sigmoid", 0.0, 0.25),
        ("sigmoid", 1.0, 0.196612),
        ("tanh", 0.0, 1.0),
        ("elu", -1.0, math.exp(-1)),
        ("leaky_relu", -3.0, 0.01),
        ("prelu", -3.0, 0.25),
        ("selu", 2.0, 1.0507009873554805),
    ],
)
def test_derivatives_known_by_heart(name, x, slope):
    assert values(name, torch.tensor([x]))[1].item() == pytest.approx(slope, abs=1e-5)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_saturation_is_as_the_table_says(name):
    flat = values(name, torch.tensor([-40.0, 40.0], dtype=torch.float64))[1].abs() < 1e-6
    assert (
        flat.tolist()
        == {"both": [True, True], "left": [True, False], "none": [False, False]}[ACTIVATIONS[name].saturates]
    )


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_bounds_are_reached_and_not_passed(name):
    row = ACTIVATIONS[name]
    y = values(name, torch.linspace(-1000, 1000, 20_001, dtype=torch.float64))[0]
    assert row.low <= y.min() and y.max() <= row.high
    if math.isfinite(row.low):
        assert y.min().item() == pytest.approx(row.low, abs=1e-6)
    if math.isfinite(row.high):
        assert y.max().item() == pytest.approx(row.high, abs=1e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_zero_centred_is_measured(name):
    function = activation(name)
    shape = (200_000, pieces(name))
    mean = function(torch.randn(shape)).mean().item()
    assert (abs(mean) < 0.2) == ACTIVATIONS[name].zero_centred


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_only_prelu_learns_by_itself(name):
    learnt = sum(part.numel() for part in activation(name).parameters())
    assert learnt == (1 if name == "prelu" else 0)
    assert bool(ACTIVATIONS[name].learnt) == (name in ("prelu", "maxout"))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_input_is_left_as_it_is(name):
    x = torch.randn(3, 4)
    before = x.clone()
    activation(name)(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("shape", [(5, 12), (2, 12, 3, 4)], ids=["units", "maps"])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_maxout_takes_the_greatest_of_neighbouring_channels(shape, count):
    x = torch.randn(shape)
    y = Maxout(count)(x)
    assert y.shape == (shape[0], 12 // count, *shape[2:])
    for channel in range(12 // count):
        greatest = x[:, channel * count]
        for piece in range(1, count):
            greatest = torch.maximum(greatest, x[:, channel * count + piece])
        assert torch.equal(y[:, channel], greatest)


def test_maxout_after_a_linear_layer_is_the_greater_of_two_affine_maps():
    layer, x = nn.Linear(3, 2), torch.randn(4, 3)
    one, two = (x @ row + bias for row, bias in zip(layer.weight, layer.bias, strict=True))
    torch.testing.assert_close(Maxout()(layer(x))[:, 0], torch.maximum(one, two))


def test_maxout_with_zero_as_a_piece_is_a_rectifier():
    x = torch.randn(2, 3, 4, 4)
    both = torch.stack([x, torch.zeros_like(x)], 2).flatten(1, 2)
    assert torch.equal(Maxout()(both), torch.relu(x))


def test_maxout_of_channels_that_do_not_divide_is_refused():
    with pytest.raises(RecipeError, match="5 channels among 2 pieces"):
        Maxout()(torch.zeros(1, 5))


@pytest.mark.parametrize(("wrong", "near"), [("Relu", "relu"), ("leakyrelu", "leaky_relu"), ("sigmoïd", "sigmoid")])
def test_a_wrong_name_is_met_with_the_nearest(wrong, near):
    with pytest.raises(RecipeError, match=f'no activation "{wrong}".*Did you mean "{near}"'):
        activation(wrong)


def test_a_name_like_no_other_is_met_with_all():
    with pytest.raises(RecipeError, match=r"There are sigmoid, tanh, .*selu"):
        pieces("활성화")


def test_the_picture_shows_all_with_hangul_titles(tmp_path):
    plot(tmp_path / "활성화 함수.png", names={"sigmoid": "시그모이드"})
    with Image.open(tmp_path / "활성화 함수.png") as picture:
        assert picture.size == (1440, 660)
        colours = len(picture.convert("RGB").getcolors(1 << 20))
    assert colours > 100
