"""The multilayer perceptron: sizes, and that it does not know which pixels are neighbours."""

import pytest
import torch
from comparing import on_meta, parameters
from torch import nn

from siseon.activations import ACTIVATIONS
from siseon.initialisers import initialiser
from siseon.interface import RecipeError
from siseon.models.classification.mlp import MLP, VARIANTS


@pytest.mark.parametrize(("name", "count"), [("mlp", 784 * 300 + 300 + 300 * 100 + 100 + 1010), ("mlp_mini", 68_010)])
def test_parameters(name, count):
    assert parameters(MLP(**VARIANTS[name])) == count


def test_parameters_of_the_paper():
    # 28x28-300-100-10, known as LeNet-300-100
    assert parameters(MLP()) == 266_610


@pytest.mark.parametrize("side", [1, 14, 28, 56, 100])
def test_takes_pictures_of_any_size(side):
    assert MLP()(torch.rand(2, 3, side, side)).shape == (2, 10)


def test_an_enlarged_picture_gives_the_same_logits():
    model = MLP()
    small = torch.rand(1, 3, 28, 28)
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(model(large), model(small))


def test_shuffled_pixels_are_as_good_as_any():
    model, shuffled = MLP(), MLP()
    order = torch.randperm(784)
    shuffled.load_state_dict(model.state_dict())
    shuffled.classifier[0].weight.data = model.classifier[0].weight.data[:, order]
    pictures = torch.rand(4, 3, 28, 28)
    mixed = pictures.flatten(2)[:, :, order].view_as(pictures)
    torch.testing.assert_close(shuffled(mixed), model(pictures))


@torch.inference_mode()
def test_is_two_matrix_products_and_rectifiers():
    model = MLP(classes=("가", "나"), hidden=(5,), size=2).eval()
    picture = torch.rand(1, 3, 2, 2)
    grey = ((picture.mean(1) - 0.1307) / 0.3081).flatten()
    first, last = model.classifier[0], model.classifier[2]
    hidden = [max(0.0, float((row * grey).sum() + bias)) for row, bias in zip(first.weight, first.bias, strict=True)]
    logits = last.weight @ torch.tensor(hidden) + last.bias
    torch.testing.assert_close(model(picture)[0], logits)
    assert model.classes == ("가", "나")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_learns(name):
    model = MLP(hidden=(20, 10), size=4, activation=name)
    model.loss(torch.rand(8, 3, 4, 4), torch.arange(8))["class"].backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert all(part.weight.grad.any() for part in model.modules() if isinstance(part, nn.Linear))


def test_without_activations_the_layers_are_one_linear_map():
    model = MLP(hidden=(30, 20), size=3, activation="identity").double()
    first, second, third = (layer for layer in model.classifier if isinstance(layer, nn.Linear))
    picture = torch.rand(4, 3, 3, 3, dtype=torch.float64)
    grey = ((picture.mean(1) - 0.1307) / 0.3081).flatten(1)
    product = third.weight @ second.weight @ first.weight
    torch.testing.assert_close(model(picture), grey @ product.T, atol=1e-6, rtol=1e-6)


def test_maxout_doubles_the_weights_of_hidden_layers():
    assert parameters(on_meta(MLP, {"activation": "maxout"})) == 2 * (785 * 300 + 301 * 100) + 1010


@pytest.mark.parametrize("name", ["xavier_uniform", "normal", 0.05])
def test_an_initialiser_by_name_or_number(name):
    weight = MLP(initialiser=name).classifier[0].weight
    assert weight.std().item() == pytest.approx(initialiser(name).deviation(784, 300), rel=0.01)


@pytest.mark.parametrize(
    ("name", "kind"), [("batch", nn.BatchNorm1d), ("layer", nn.GroupNorm), ("group", nn.GroupNorm)]
)
def test_normalisations_stand_before_the_activations(name, kind):
    layers = [type(layer) for layer in MLP(norm=name).classifier]
    assert layers == [nn.Linear, kind, nn.ReLU, nn.Linear, kind, nn.ReLU, nn.Linear]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"activation": "relo"}, 'Did you mean "relu"'),
        ({"initialiser": "he"}, 'Did you mean "he_normal"'),
        ({"norm": "bach"}, 'Did you mean "batch"'),
        ({"norm": "instance"}, "needs maps"),
    ],
)
def test_wrong_names_are_refused(arguments, said):
    with pytest.raises(RecipeError, match=said):
        MLP(**arguments)
