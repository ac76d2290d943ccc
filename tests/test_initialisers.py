"""Initialisers: measured deviations against the formulae, and what depth makes of the right and the wrong ones."""

import math

import pytest
import torch
from torch import nn

from siseon.initialisers import INITIALISERS, fans, initialise, initialiser
from siseon.interface import RecipeError

LAYERS = {
    "linear": lambda: nn.Linear(500, 300),
    "convolution": lambda: nn.Conv2d(48, 96, 5),
    "groups": lambda: nn.Conv2d(64, 128, 5, groups=2),
}
FANS = {"linear": (500, 300), "convolution": (1200, 2400), "groups": (800, 3200)}


@pytest.mark.parametrize("layer", LAYERS)
def test_fans_are_the_terms_of_a_sum_and_the_uses_of_a_value(layer):
    assert fans(LAYERS[layer]().weight) == FANS[layer]


VARIANCES = {
    "zero": lambda n, m: 0,
    "normal": lambda n, m: 1e-4,
    0.05: lambda n, m: 0.0025,
    "lecun_normal": lambda n, m: 1 / n,
    "xavier_normal": lambda n, m: 2 / (n + m),
    "xavier_uniform": lambda n, m: 2 / (n + m),
    "he_normal": lambda n, m: 2 / n,
    "he_uniform": lambda n, m: 2 / n,
    "notes_xavier": lambda n, m: 1 / (n + m),
    "notes_he": lambda n, m: 1 / (2 * (n + m)),
}


def test_every_row_is_tested():
    assert set(VARIANCES) - {0.05} == set(INITIALISERS)


@pytest.mark.parametrize("name", VARIANCES)
@pytest.mark.parametrize("layer", LAYERS)
def test_weights_have_the_deviation_of_the_formula(name, layer):
    network = LAYERS[layer]()
    initialise(network, name)
    wanted = math.sqrt(VARIANCES[name](*FANS[layer]))
    weight = network.weight.detach()
    assert initialiser(name).deviation(*FANS[layer]) == pytest.approx(wanted)
    # five standard errors of the deviation, and of the mean, of so many normal values
    assert weight.std().item() == pytest.approx(wanted, abs=5 * wanted / math.sqrt(2 * weight.numel()))
    assert abs(weight.mean().item()) <= 5 * wanted / math.sqrt(weight.numel())
    assert not network.bias.any()


@pytest.mark.parametrize("name", ["xavier_uniform", "he_uniform"])
def test_even_distributions_end_at_the_root_of_three_deviations(name):
    layer = nn.Linear(500, 300)
    initialise(layer, name)
    greatest = math.sqrt(3) * initialiser(name).deviation(500, 300)
    assert 0.999 * greatest < layer.weight.abs().max() <= greatest


def test_he_is_what_torch_draws():
    layer, same = nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)
    torch.manual_seed(1)
    initialise(layer)
    torch.manual_seed(1)
    nn.init.kaiming_normal_(same.weight, nonlinearity="relu")
    assert torch.equal(layer.weight, same.weight)


def test_all_parts_are_drawn_and_norms_left_alone():
    network = nn.Sequential(nn.Conv1d(2, 2, 3), nn.BatchNorm1d(2), nn.Sequential(nn.Linear(4, 4, bias=False)))
    initialise(network, "zero")
    assert not network[0].weight.any() and not network[2][0].weight.any()
    assert torch.equal(network[1].weight, torch.ones(2))


@pytest.mark.parametrize(("wrong", "near"), [("xavier", "xavier_normal"), ("He", "he_normal"), ("glorot_normal", "")])
def test_a_wrong_name_is_refused(wrong, near):
    with pytest.raises(RecipeError, match=f'no initialiser "{wrong}".*{near}.*There are zero, normal'):
        initialise(nn.Linear(2, 2), wrong)


def outputs(name, activation, *, width=512, depth=30):
    """The root mean square of what each of `depth` layers gives for standard normal inputs, and the last outputs."""
    layers = [nn.Linear(width, width) for _ in range(depth)]
    x, sizes = torch.randn(64, width), []
    with torch.inference_mode():
        for layer in layers:
            initialise(layer, name)
            x = activation(layer(x))
            sizes.append(x.double().square().mean().sqrt().item())
    return sizes, x


@pytest.mark.parametrize(
    ("name", "activation", "low", "high"),
    [
        ("he_normal", torch.relu, 0.2, 5),
        ("he_uniform", torch.relu, 0.2, 5),
        ("xavier_normal", torch.tanh, 0.05, 0.5),
        ("xavier_uniform", torch.tanh, 0.05, 0.5),
        ("lecun_normal", torch.tanh, 0.05, 0.5),
        # each rectifier halves the variance: 2^-15 = 3.1e-5
        ("xavier_normal", torch.relu, 1e-5, 1e-4),
        # what notes write: 4^-15 = 9.3e-10 and 8^-15 = 2.8e-14
        ("notes_xavier", torch.relu, 3e-10, 3e-9),
        ("notes_he", torch.relu, 1e-14, 1e-13),
        # 512 * 0.01^2 / 2 = 0.0256 a layer: 0.0256^15 = 1.3e-24
        ("normal", torch.relu, 3e-25, 5e-24),
        # 512 * 0.1^2 / 2 = 2.56 a layer: 2.56^15 = 1.3e6
        (0.1, torch.relu, 3e5, 5e6),
        ("zero", torch.tanh, 0, 0),
    ],
)
def test_thirty_layers_keep_the_variance_only_with_the_right_initialiser(name, activation, low, high):
    sizes, _ = outputs(name, activation)
    assert low <= sizes[-1] <= high


@pytest.mark.parametrize(("deviation", "saturated"), [(0.01, 0.0), (0.05, 0.44)])
def test_what_a_constant_deviation_does_depends_on_the_width(deviation, saturated):
    # The notes' 0.01 and 0.05 at a width of 4096: the same as four times as much at 256.
    sizes, last = outputs(4 * deviation, torch.tanh, width=256, depth=6)
    assert (last.abs() > 0.97).float().mean().item() == pytest.approx(saturated, abs=0.04)
    if not saturated:
        assert sizes == pytest.approx([0.49, 0.29, 0.18, 0.11, 0.07, 0.05], rel=0.15, abs=0.01)


@pytest.mark.parametrize(
    ("name", "low", "high"), [("he_normal", 0.1, 10), ("xavier_normal", 1e-6, 1e-3), ("normal", 0, 1e-20)]
)
def test_gradients_fare_as_the_outputs(name, low, high):
    network = nn.Sequential(*(layer for _ in range(30) for layer in (nn.Linear(256, 256), nn.ReLU())))
    initialise(network, name)
    x = torch.randn(32, 256, requires_grad=True)
    network(x).backward(torch.randn(32, 256))
    assert low <= x.grad.square().mean().sqrt() <= high


def test_zero_weights_leave_hidden_layers_without_gradient():
    network = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    initialise(network, "zero")
    network(torch.randn(5, 4)).square().sum().backward()
    (network(torch.randn(5, 4)) - 1).square().sum().backward()
    assert not network[0].weight.grad.any() and not network[2].weight.grad.any()
    assert network[2].bias.grad.any()
