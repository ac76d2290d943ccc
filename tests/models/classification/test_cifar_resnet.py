"""ResNets for CIFAR-10: table 6, option A, and the names of the published weights."""

import re

import pytest
import torch
import torch.nn.functional as F
from comparing import filled, norm, on_meta, parameters, stages, weight_and_bias
from torch import nn

from siseon.interface import RecipeError
from siseon.layers import Residual
from siseon.models.classification.cifar_resnet import TORCHVISION_NAMES, VARIANTS, CifarResNet, ZeroPadded


@pytest.mark.parametrize(
    ("depth", "count", "millions"),
    [
        # millions: table 6
        (20, 269_722, 0.27),
        (32, 464_154, 0.46),
        (44, 658_586, 0.66),
        (56, 853_018, 0.85),
        (110, 1_727_962, 1.7),
    ],
)
def test_parameters_are_the_same_with_and_without_shortcuts(depth, count, millions):
    assert parameters(on_meta(CifarResNet, VARIANTS[f"resnet{depth}"])) == count
    assert parameters(on_meta(CifarResNet, VARIANTS[f"plain{depth}"])) == count
    assert count / 1e6 == pytest.approx(millions, rel=0.02)


@pytest.mark.parametrize("name", VARIANTS)
def test_stages(name):
    model = on_meta(CifarResNet, VARIANTS[name])
    one, two, three = model.body.channels
    assert stages(model, 32) == [(one, 32, 32), (two, 16, 16), (three, 8, 8)]
    assert model.body.strides == (1, 2, 4)


@pytest.mark.parametrize(("name", "shortcuts"), [("resnet56", 27), ("plain56", 0)])
def test_layers_and_shortcuts(name, shortcuts):
    model = on_meta(CifarResNet, VARIANTS[name])
    assert sum(isinstance(layer, nn.Conv2d | nn.Linear) for layer in model.modules()) == 56
    assert sum(isinstance(layer, Residual) for layer in model.modules()) == shortcuts


@pytest.mark.parametrize("depth", [2, 3, 21, 51])
def test_other_depths_are_refused(depth):
    with pytest.raises(RecipeError, match="6n \\+ 2"):
        CifarResNet(depth=depth)


@pytest.mark.parametrize(
    ("added", "stride", "wanted"),
    [
        (0, 1, [[[1.0, 2], [3, 4]]]),
        (2, 2, [[[0.0]], [[1.0]], [[0.0]]]),
        (1, 2, [[[1.0]], [[0.0]]]),
        (3, 2, [[[0.0]], [[1.0]], [[0.0]], [[0.0]]]),
    ],
)
def test_option_a_adds_channels_of_zeros(added, stride, wanted):
    x = torch.tensor([[[[1.0, 2], [3, 4]]]])
    assert ZeroPadded(added, stride)(x)[0].tolist() == wanted


def names(depth):
    """The names in the published weights."""
    found = ["conv1.weight", *norm("bn1")]
    for stage in (1, 2, 3):
        for number in range((depth - 2) // 6):
            for part in (1, 2):
                prefix = f"layer{stage}.{number}"
                found += [f"{prefix}.conv{part}.weight", *norm(f"{prefix}.bn{part}")]
    return [f"module.{name}" for name in found + weight_and_bias("linear")]


@torch.inference_mode()
@pytest.mark.parametrize("depth", [8, 20])
def test_published_names_go_where_they_belong(depth):
    model = filled(CifarResNet(depth=depth), names(depth))
    own = model.state_dict()
    theirs = {
        name.removeprefix("module."): own[
            next(re.sub(old, new, name) for old, new in TORCHVISION_NAMES if re.fullmatch(old, name))
        ]
        for name in names(depth)
    }

    def normalised(x, prefix):
        mean, variance, weight, bias = (
            theirs[f"{prefix}.{part}"].view(-1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    x = torch.randn(1, 3, 32, 32)
    out = F.relu(normalised(F.conv2d(x, theirs["conv1.weight"], padding=1), "bn1"))
    for stage in (1, 2, 3):
        for number in range((depth - 2) // 6):
            prefix, stride = f"layer{stage}.{number}", 2 if stage > 1 and number == 0 else 1
            branch = F.conv2d(out, theirs[f"{prefix}.conv1.weight"], stride=stride, padding=1)
            branch = F.relu(normalised(branch, f"{prefix}.bn1"))
            branch = normalised(F.conv2d(branch, theirs[f"{prefix}.conv2.weight"], padding=1), f"{prefix}.bn2")
            shortcut = torch.zeros_like(branch)
            extra = (branch.shape[1] - out.shape[1]) // 2
            shortcut[:, extra : extra + out.shape[1]] = out[:, :, ::stride, ::stride]
            out = F.relu(branch + shortcut)
    wanted = theirs["linear.weight"] @ out.mean((2, 3))[0] + theirs["linear.bias"]
    torch.testing.assert_close(model.logits(x)[0], wanted, rtol=1e-4, atol=1e-4)


def test_gradients_reach_every_parameter():
    model = CifarResNet(**VARIANTS["cifar_resnet_mini"])
    model.loss(torch.rand(4, 3, 32, 32), torch.arange(4))["class"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("side", [4, 9, 32, 50])
def test_takes_pictures_of_any_size(side):
    assert CifarResNet(**VARIANTS["cifar_resnet_mini"]).eval()(torch.rand(1, 3, side, side)).shape == (1, 10)
