"""Wide residual networks: the parameters of table 4, the block against its formula, torchvision's numbers."""

import pytest
import torch
import torch.nn.functional as F
from comparing import assert_agrees, filled, on_meta, parameters, picture, stages
from torch import nn

import torchvision_names
from golden import Summary
from siseon.interface import RecipeError
from siseon.models.classification.wide_resnet import (
    BOTTLENECK_BODIES,
    VARIANTS,
    PreActivated,
    WideBottleneckResNet,
    WideResNet,
)

# torchvision 0.28's wide_resnet50_2 on the tensors and the picture of fill.py.
LOGITS_64 = Summary(
    (1000,),
    0.01681741,
    1.817155,
    [-0.3906378, -0.587111, -1.282311, 2.719702, 3.231311, -0.3992579, -4.652433, 2.629946],
    [0.2952159, -0.151354, -0.1850251, -0.4735539, -0.9826863, -2.199972, 0.5420565, 0.007469788],
)


@pytest.mark.parametrize(
    ("depth", "widening", "millions"),
    [
        (40, 1, 0.6),
        (40, 2, 2.2),
        (40, 4, 8.9),
        (28, 10, 36.5),
        (28, 12, 52.5),
        (22, 8, 17.2),
        (16, 8, 11.0),
        (16, 10, 17.1),
    ],
)
def test_parameters_of_table_4(depth, widening, millions):
    model = on_meta(WideResNet, {"depth": depth, "widening": widening})
    assert round(parameters(model) / 1e6, 1) == millions


@pytest.mark.parametrize(
    ("name", "count"), [("wrn16_4", 2_748_890), ("wrn28_10", 36_479_194), ("wide_resnet_mini", 76_594)]
)
def test_parameters(name, count):
    assert parameters(on_meta(WideResNet, VARIANTS[name])) == count


@pytest.mark.parametrize(("name", "count"), [("wide_resnet50_2", 68_883_240), ("wide_resnet101_2", 126_886_696)])
def test_parameters_of_wide_bottlenecks(name, count):
    assert parameters(on_meta(WideBottleneckResNet, BOTTLENECK_BODIES[name])) == count


@pytest.mark.parametrize(
    ("build", "arguments", "wanted", "strides"),
    [
        (
            WideBottleneckResNet,
            BOTTLENECK_BODIES["wide_resnet50_2"],
            [(256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)],
            (4, 8, 16, 32),
        ),
        (WideResNet, VARIANTS["wrn28_10"], [(160, 32, 32), (320, 16, 16), (640, 8, 8)], (1, 2, 4)),
        (WideResNet, VARIANTS["wide_resnet_mini"], [(16, 32, 32), (32, 16, 16), (64, 8, 8)], (1, 2, 4)),
    ],
    ids=["wide_resnet50_2", "wrn28_10", "wide_resnet_mini"],
)
def test_stages(build, arguments, wanted, strides):
    model = on_meta(build, arguments)
    assert stages(model, model.crop) == wanted
    assert model.body.channels == tuple(stage[0] for stage in wanted)
    assert model.body.strides == strides


@pytest.mark.parametrize("depth", [10, 16, 28])
def test_depth_counts_the_convolutions(depth):
    layers = [layer for layer in on_meta(WideResNet, {"depth": depth}).modules() if isinstance(layer, nn.Conv2d)]
    assert len(layers) == depth


@pytest.mark.parametrize("depth", [4, 9, 12, 20])
def test_other_depths_are_refused(depth):
    with pytest.raises(RecipeError, match="6n \\+ 4"):
        WideResNet(depth=depth)


@pytest.mark.parametrize(("channels", "stride"), [(4, 1), (4, 2), (3, 1)])
def test_a_block_normalises_before_it_convolves(channels, stride):
    block = PreActivated(channels, 4, stride=stride, dropout=0.5).eval()
    x = torch.randn(2, channels, 6, 6)
    scale = (1 + 1e-5) ** -0.5  # what an untrained normalisation multiplies by
    one, two, *projection = (layer.weight for layer in block.modules() if isinstance(layer, nn.Conv2d))
    activated = F.relu(x * scale)
    wanted = F.conv2d(F.relu(F.conv2d(activated, one, stride=stride, padding=1) * scale), two, padding=1)
    wanted = wanted + (F.conv2d(activated, projection[0], stride=stride) if projection else x)
    torch.testing.assert_close(block(x), wanted)


def test_twice_as_wide_has_four_times_the_weights():
    def convolutions(widening):
        (block, *_) = on_meta(WideResNet, {"depth": 16, "widening": widening}).body.layers["3"][1:]
        return sum(layer.weight.numel() for layer in block.modules() if isinstance(layer, nn.Conv2d))

    assert convolutions(4) == 4 * convolutions(2) == 16 * convolutions(1)


@torch.inference_mode()
def test_wide_bottlenecks_give_the_logits_of_torchvision():
    names = [*torchvision_names.resnet_body((3, 4, 6, 3), 3), *torchvision_names.linear("fc")]
    model = filled(WideBottleneckResNet(**BOTTLENECK_BODIES["wide_resnet50_2"]), names)
    assert_agrees(model.logits(picture(64))[0], LOGITS_64)


def test_a_picture_of_one_pixel_is_large_enough():
    assert WideResNet(**VARIANTS["wide_resnet_mini"]).eval()(torch.rand(1, 3, 1, 1)).isfinite().all()
