"""AlexNet: the paper's table, one tower against torchvision, normalisation against its equation."""

import pytest
import torch
from comparing import assert_agrees, filled, on_meta, outputs, parameters, picture, stages, weight_and_bias
from torch import nn

from golden import Summary
from siseon.interface import SiseonError
from siseon.layers import before_pooling
from siseon.models.classification.alexnet import VARIANTS, AlexNet
from siseon.normalisations import response_norm

# torchvision 0.28's alexnet on the tensors and the pictures of fill.py.
LOGITS_224 = Summary(
    (1000,),
    -0.04806406,
    4.648477,
    [-6.308125, 1.745551, 5.587263, 1.475442, -3.704797, 0.1224628, 9.179743, 6.848355],
    [-6.699661, -1.137347, 8.457763, -6.617921, 2.038382, -4.058346, -3.020661, -1.211015],
)
LOGITS_96 = Summary(
    (1000,),
    0.006513947,
    5.991548,
    [-8.084396, -1.708629, 3.38132, 5.122949, -3.541714, -0.4711217, 7.424994, 9.914976],
    [-11.20611, 2.998652, 9.688684, -5.52599, 2.085753, -5.820901, -2.405672, -4.408514],
)


@pytest.mark.parametrize(
    ("name", "count"), [("alexnet", 60_965_224), ("alexnet_one_tower", 61_100_840), ("alexnet_mini", 60_906)]
)
def test_parameters(name, count):
    assert parameters(on_meta(AlexNet, VARIANTS[name])) == count


def test_without_groups_it_has_62_million():
    assert parameters(on_meta(AlexNet, {"groups": 1})) == 62_378_344


def test_weights_of_each_layer():
    # both halves together: 2,332,704 in convolutions, 58,621,952 fully connected
    layers = [layer for layer in on_meta(AlexNet, {}).modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert [layer.weight.numel() for layer in layers] == [
        *(34_848, 307_200, 884_736, 663_552, 442_368),
        *(37_748_736, 16_777_216, 4_096_000),
    ]


def test_sizes_of_the_paper():
    shapes = [
        shape for layer, shape in outputs(on_meta(AlexNet, {}), 227) if isinstance(layer, nn.Conv2d | nn.MaxPool2d)
    ]
    assert shapes == [
        *((96, 55, 55), (96, 27, 27), (256, 27, 27), (256, 13, 13)),
        *((384, 13, 13), (384, 13, 13), (256, 13, 13), (256, 6, 6)),
    ]


@pytest.mark.parametrize(
    ("name", "side", "wanted"),
    [
        ("alexnet", 227, [(96, 55, 55), (256, 27, 27), (256, 13, 13), (256, 6, 6)]),
        ("alexnet_one_tower", 224, [(64, 55, 55), (192, 27, 27), (256, 13, 13), (256, 6, 6)]),
        ("alexnet_mini", 32, [(16, 16, 16), (32, 7, 7), (32, 3, 3), (32, 1, 1)]),
    ],
)
def test_stages(name, side, wanted):
    model = on_meta(AlexNet, VARIANTS[name])
    assert model.crop == side
    assert stages(model, side) == wanted
    assert model.body.channels == tuple(stage[0] for stage in wanted)


@pytest.mark.parametrize(("name", "strides"), [("alexnet", (4, 8, 16, 32)), ("alexnet_mini", (2, 4, 8, 16))])
def test_strides(name, strides):
    assert on_meta(AlexNet, VARIANTS[name]).body.strides == strides


def test_response_normalisation_is_the_equation_of_section_3_3():
    x = torch.randn(1, 7, 2, 2) * 30
    wanted = torch.empty_like(x)
    for channel in range(7):
        near = x[:, max(0, channel - 2) : channel + 3]
        wanted[:, channel] = x[:, channel] / (2 + 1e-4 * near.square().sum(1)) ** 0.75
    torch.testing.assert_close(response_norm()(x), wanted)


def test_normalisation_comes_before_the_pooling():
    kinds = [type(layer) for layer in on_meta(AlexNet, {}).body.layers.values()][:4]
    assert kinds == [nn.ReLU, nn.LocalResponseNorm, nn.MaxPool2d, nn.Conv2d]


def names():
    convolutions = [name for number in (0, 3, 6, 8, 10) for name in weight_and_bias(f"features.{number}")]
    return convolutions + [name for number in (1, 4, 6) for name in weight_and_bias(f"classifier.{number}")]


@torch.inference_mode()
def test_one_tower_gives_the_logits_of_torchvision():
    model = filled(on_meta(AlexNet, VARIANTS["alexnet_one_tower"]).to_empty(device="cpu"), names())
    assert_agrees(model.logits(picture(224))[0], LOGITS_224)
    assert_agrees(model.logits(picture(96))[0], LOGITS_96)


@pytest.mark.parametrize(("name", "least"), [("alexnet", 67), ("alexnet_one_tower", 63), ("alexnet_mini", 29)])
def test_least_size(name, least):
    model = on_meta(AlexNet, VARIANTS[name])
    assert stages(model, least)[-1][1:] == (1, 1)
    with pytest.raises(SiseonError, match=f"{least} pixels"):
        stages(model, least - 1)


@pytest.mark.parametrize(
    ("kinds", "ends"),
    [
        ([nn.ReLU], (0,)),
        ([nn.ReLU, nn.MaxPool2d], (0, 1)),
        ([nn.ReLU, nn.MaxPool2d, nn.ReLU, nn.ReLU, nn.MaxPool2d, nn.ReLU], (0, 3, 5)),
    ],
)
def test_stages_end_before_each_pooling(kinds, ends):
    assert before_pooling([kind(2) if kind is nn.MaxPool2d else kind() for kind in kinds]) == ends
