"""The deep network for digits: sizes of the book, and a naive forward."""

import pytest
import torch
import torch.nn.functional as F
from comparing import on_meta, outputs, parameters, stages
from torch import nn

from siseon.interface import SiseonError
from siseon.models.classification.deep_digits import VARIANTS, DeepDigits


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
