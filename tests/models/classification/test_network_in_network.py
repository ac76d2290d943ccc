"""Network in Network: parameters and sizes of the authors' networks, the mean of each map as logit."""

import pytest
import torch
import torch.nn.functional as F
from comparing import on_meta, outputs, parameters, stages
from torch import nn

from siseon.interface import SiseonError
from siseon.models.classification.network_in_network import VARIANTS, NetworkInNetwork


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("network_in_network", [14_592, 30_880, 15_456, 460_992, 37_056, 37_056, 331_968, 37_056, 1_930]),
        (
            "network_in_network_imagenet",
            [
                *(34_944, 9_312, 9_312, 614_656, 65_792, 65_792, 885_120, 147_840, 147_840),
                *(3_539_968, 1_049_600, 1_025_000),
            ],
        ),
    ],
)
def test_parameters_of_each_layer(name, counts):
    layers = [layer for layer in on_meta(NetworkInNetwork, VARIANTS[name]).modules() if isinstance(layer, nn.Conv2d)]
    assert [parameters(layer) for layer in layers] == counts


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("network_in_network", 966_986),
        ("network_in_network_imagenet", 7_595_176),
        ("network_in_network_mini", 29_202),
    ],
)
def test_parameters(name, count):
    assert parameters(on_meta(NetworkInNetwork, VARIANTS[name])) == count


@pytest.mark.parametrize(
    ("name", "wanted", "strides"),
    [
        ("network_in_network", [(96, 32, 32), (192, 16, 16), (192, 8, 8)], (1, 2, 4)),
        (
            "network_in_network_imagenet",
            [(96, 54, 54), (256, 27, 27), (384, 13, 13), (1024, 6, 6)],
            (4, 8, 16, 32),
        ),
        ("network_in_network_mini", [(16, 32, 32), (32, 16, 16), (32, 8, 8)], (1, 2, 4)),
    ],
)
def test_stages(name, wanted, strides):
    model = on_meta(NetworkInNetwork, VARIANTS[name])
    assert stages(model, model.crop) == wanted
    assert model.body.channels == tuple(stage[0] for stage in wanted)
    assert model.body.strides == strides


def test_the_second_pooling_takes_means():
    kinds = [type(layer) for layer, _ in outputs(on_meta(NetworkInNetwork, {}), 32)]
    assert [kind for kind in kinds if kind in (nn.MaxPool2d, nn.AvgPool2d)] == [nn.MaxPool2d, nn.AvgPool2d]


def test_is_convolutions_all_the_way():
    model = NetworkInNetwork(**VARIANTS["network_in_network_mini"]).eval()
    picture = torch.rand(2, 3, 32, 32)
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    x = (picture - model.mean.view(3, 1, 1)) / model.deviation.view(3, 1, 1)
    for number, layer in enumerate(layers, 1):
        x = F.conv2d(x, layer.weight, layer.bias, padding=layer.weight.shape[-1] // 2)
        x = F.relu(x) if number < 9 else x
        x = F.max_pool2d(x, 3, 2, ceil_mode=True) if number == 3 else x
        x = F.avg_pool2d(x, 3, 2, ceil_mode=True) if number == 6 else x
    wanted = torch.stack([x[:, label].flatten(1).sum(1) / 64 for label in range(10)], 1)
    torch.testing.assert_close(model(picture), wanted)


@pytest.mark.parametrize(("name", "least"), [("network_in_network", 4), ("network_in_network_imagenet", 39)])
def test_least_size(name, least):
    model = on_meta(NetworkInNetwork, VARIANTS[name])
    assert stages(model, least)[-1][1:] == (1, 1)
    with pytest.raises(SiseonError, match=f"{least} pixels"):
        stages(model, least - 1)
