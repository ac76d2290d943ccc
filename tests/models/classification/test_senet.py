"""SENet: the parameters of the published networks, the block against its equations, joining any residual network."""

import pytest
import torch
from comparing import on_meta, parameters, stages
from torch import nn

from siseon.layers import SqueezeExcitation
from siseon.models.classification.cifar_resnet import CifarResNetBody
from siseon.models.classification.mobilenet import MobileNetV2Body
from siseon.models.classification.resnet import VARIANTS as RESNETS
from siseon.models.classification.resnet import ResNet
from siseon.models.classification.senet import VARIANTS, SENet, add_squeeze_excitation
from siseon.models.classification.wide_resnet import WideResNetBody


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("se_resnet50", 28_088_024),
        ("se_resnet101", 49_326_872),
        ("se_resnet152", 66_821_848),
        ("se_resnext50_32x4d", 27_559_896),
        ("se_resnext101_32x4d", 48_955_416),
        ("se_resnet_mini", 320_006),
    ],
)
def test_parameters(name, count):
    assert parameters(on_meta(SENet, VARIANTS[name])) == count


def test_the_blocks_add_the_weights_of_equation_5():
    # 2 / r times the sum over stages of blocks * channels^2, and here one bias a unit
    added = parameters(on_meta(SENet, VARIANTS["se_resnet50"])) - parameters(on_meta(ResNet, RESNETS["resnet50"]))
    rows = ((3, 256), (4, 512), (6, 1024), (3, 2048))
    weights = 2 * sum(blocks * channels**2 for blocks, channels in rows) // 16
    biases = sum(blocks * (channels // 16 + channels) for blocks, channels in rows)
    assert (weights, biases) == (2_514_944, 16_048)
    assert added == weights + biases


@pytest.mark.parametrize(
    ("name", "wanted", "strides"),
    [
        ("se_resnet50", [(256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)], (4, 8, 16, 32)),
        ("se_resnet_mini", [(16, 8, 8), (32, 4, 4), (64, 2, 2), (128, 1, 1)], (4, 8, 16, 32)),
    ],
)
def test_stages(name, wanted, strides):
    model = on_meta(SENet, VARIANTS[name])
    assert stages(model, model.crop) == wanted
    assert model.body.channels == tuple(stage[0] for stage in wanted)
    assert model.body.strides == strides


@pytest.mark.parametrize(
    ("build", "arguments", "branches"),
    [
        (CifarResNetBody, {"depth": 8, "widths": (4, 8, 8)}, 3),
        (WideResNetBody, {"depth": 10, "widening": 1, "base": 4}, 3),
        (MobileNetV2Body, {"width": 0.35}, 17),
    ],
    ids=["cifar_resnet", "wide_resnet", "mobilenet_v2"],
)
def test_joins_any_residual_network(build, arguments, branches):
    body = build(**arguments).eval()
    image = torch.rand(1, 3, 32, 32)
    shapes = [each.shape for each in body.features(image)]
    assert add_squeeze_excitation(body, reduction=4) == branches
    added = [part for part in body.modules() if isinstance(part, SqueezeExcitation)]
    assert len(added) == branches
    assert [each.shape for each in body.features(image)] == shapes


def test_comes_after_the_last_normalisation_of_a_branch():
    (block,) = on_meta(SENet, VARIANTS["se_resnet_mini"]).body.layers["2"]
    *_, narrow, last = block.branch
    assert isinstance(narrow[-1], nn.BatchNorm2d)
    assert isinstance(last, SqueezeExcitation)
    assert (last.squeeze.in_channels, last.squeeze.out_channels) == (32, 8)


def test_every_weight_learns():
    model = SENet(**VARIANTS["se_resnet_mini"])
    model.loss(torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 3]))["class"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_picture_of_one_pixel_is_large_enough():
    assert SENet(**VARIANTS["se_resnet_mini"]).eval()(torch.rand(1, 3, 1, 1)).isfinite().all()
