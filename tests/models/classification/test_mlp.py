"""The multilayer perceptron: sizes, and that it does not know which pixels are neighbours."""

import pytest
import torch
from comparing import parameters

from siseon.models.classification.mlp import MLP, VARIANTS, to_grid


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


@pytest.mark.parametrize(
    ("maps", "side", "wanted"),
    [
        ([[1.0, 2], [3, 4]], 2, [[1.0, 2], [3, 4]]),
        ([[1.0, 2], [3, 4]], 1, [[2.5]]),
        ([[5.0]], 2, [[5.0, 5], [5, 5]]),
    ],
)
def test_maps_are_brought_to_a_grid(maps, side, wanted):
    assert to_grid(torch.tensor(maps)[None, None], side)[0, 0].tolist() == wanted
