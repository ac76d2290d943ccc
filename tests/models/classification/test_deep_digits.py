"""The deep network for digits: sizes of the book, and a naive forward."""

import pytest
import torch
import torch.nn.functional as F
from comparing import on_meta, outputs, parameters, stages
from torch import nn

from siseon.activations import ACTIVATIONS
from siseon.interface import RecipeError, SiseonError
from siseon.models.classification.deep_digits import VARIANTS, DeepDigits
from siseon.normalisations import NORMALISATIONS


def test_parameters_of_each_layer():
    model = on_meta(DeepDigits, {})
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert [parameters(layer) for layer in layers] == [160, 2320, 4640, 9248, 18_496, 36_928, 51_250, 510]
    assert parameters(model) == 123_552


def test_sizes():
    shapes = [
        shape for layer, shape in outputs(on_meta(DeepDigits, {}), 28) if isinstance(layer, nn.Conv2d | nn.MaxPool2d)
    ]
    assert shapes == [
        *((16, 28, 28), (16, 28, 28), (16, 14, 14)),
        *((32, 14, 14), (32, 16, 16), (32, 8, 8)),
        *((64, 8, 8), (64, 8, 8), (64, 4, 4)),
    ]


@pytest.mark.parametrize(("name", "side"), [("deep_digits", 28), ("deep_digits_mini", 32)])
def test_ends_in_four_by_four_cells(name, side):
    model = on_meta(DeepDigits, VARIANTS[name])
    assert model.crop == side
    assert stages(model, side)[-1][1:] == (4, 4)
    assert tuple(stage[0] for stage in stages(model, side)) == model.body.channels


def test_is_what_the_figure_shows():
    model = DeepDigits().eval()
    picture = torch.rand(2, 3, 28, 28)
    x = ((picture - 0.1307) / 0.3081).mean(1, keepdim=True)
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    for number, layer in enumerate(convolutions, 1):
        x = F.relu(F.conv2d(x, layer.weight, layer.bias, padding=2 if number == 4 else 1))
        x = F.max_pool2d(x, 2) if number % 2 == 0 else x
    hidden, last = (layer for layer in model.classifier if isinstance(layer, nn.Linear))
    torch.testing.assert_close(model(picture), last(F.relu(hidden(x.flatten(1)))))


def test_drops_only_the_hidden_units():
    model = DeepDigits(dropout=1.0).train()
    logits = model(torch.rand(3, 3, 28, 28))
    torch.testing.assert_close(logits, model.classifier[-1].bias.expand(3, -1))


@pytest.mark.parametrize(("side", "good"), [(3, False), (4, True), (45, True)])
def test_least_size(side, good):
    model = DeepDigits()
    if good:
        assert model(torch.rand(1, 3, side, side)).shape == (1, 10)
    else:
        with pytest.raises(SiseonError, match="4 pixels"):
            model(torch.rand(1, 3, side, 28))


TINY = {"widths": (4, 8, 8), "hidden": 10}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_learns(name):
    model = DeepDigits(**TINY, activation=name)
    model.loss(torch.rand(4, 3, 28, 28), torch.arange(4))["class"].backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert model.body.stem.conv.weight.grad.any()


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_every_normalisation_stands_before_its_activation(name):
    model = DeepDigits(**TINY, norm=name)
    layers = [model.body.stem.conv, *model.body.layers.values()]
    norms = [number for number, layer in enumerate(layers) if "Norm" in type(layer).__name__]
    assert len(norms) == 6
    assert all(isinstance(layers[at - 1], nn.Conv2d) and isinstance(layers[at + 1], nn.ReLU) for at in norms)
    model.loss(torch.rand(4, 3, 28, 28), torch.arange(4))["class"].backward()
    assert model.body.stem.conv.weight.grad.any()


@pytest.mark.parametrize("changes", [{}, {"norm": "group"}, {"activation": "maxout"}])
def test_the_stages_are_the_same_with_other_parts(changes):
    model = on_meta(DeepDigits, changes)
    assert stages(model, 28) == [(16, 28, 28), (32, 16, 16), (64, 8, 8), (64, 4, 4)]


def test_maxout_doubles_the_weights_before_it():
    model = on_meta(DeepDigits, {"activation": "maxout"})
    assert parameters(model) == 2 * (123_552 - 510) + 510


@pytest.mark.parametrize("deviation", [0.01, 0.1])
def test_a_number_is_a_constant_deviation(deviation):
    model = DeepDigits(initialiser=deviation)
    for layer in (model.body.layers["7"], model.classifier[0]):
        assert layer.weight.std().item() == pytest.approx(deviation, rel=0.05)


@pytest.mark.parametrize("arguments", [{"activation": "rellu"}, {"initialiser": "xavier"}, {"norm": "grup"}])
def test_wrong_names_are_met_with_the_nearest(arguments):
    with pytest.raises(RecipeError, match="Did you mean"):
        DeepDigits(**arguments)
