"""ZFNet: the sizes of figure 3."""

import pytest
from comparing import on_meta, outputs, parameters, stages
from torch import nn

from siseon.interface import SiseonError
from siseon.models.classification.zfnet import VARIANTS, ZFNet


def test_parameters_of_each_layer():
    model = on_meta(ZFNet, {})
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert [parameters(layer) for layer in layers] == [
        *(14_208, 614_656, 885_120, 1_327_488, 884_992),
        *(37_752_832, 16_781_312, 4_097_000),
    ]
    assert parameters(model) == 62_357_608


def test_sizes_of_figure_3():
    shapes = [shape for layer, shape in outputs(on_meta(ZFNet, {}), 224) if isinstance(layer, nn.Conv2d | nn.MaxPool2d)]
    assert shapes == [
        *((96, 110, 110), (96, 55, 55), (256, 26, 26), (256, 13, 13)),
        *((384, 13, 13), (384, 13, 13), (256, 13, 13), (256, 6, 6)),
    ]


def test_normalisation_comes_after_the_pooling():
    kinds = [type(layer) for layer in on_meta(ZFNet, {}).body.layers.values()][:4]
    assert kinds == [nn.ReLU, nn.MaxPool2d, nn.LocalResponseNorm, nn.Conv2d]


@pytest.mark.parametrize(
    ("name", "side", "wanted", "strides"),
    [
        ("zfnet", 224, [(96, 55, 55), (256, 26, 26), (256, 13, 13), (256, 6, 6)], (4, 8, 16, 32)),
        ("zfnet_mini", 32, [(16, 14, 14), (32, 10, 10), (32, 5, 5), (32, 2, 2)], (2, 2, 4, 8)),
    ],
)
def test_stages(name, side, wanted, strides):
    model = on_meta(ZFNet, VARIANTS[name])
    assert stages(model, side) == wanted
    assert model.body.channels == tuple(stage[0] for stage in wanted)
    assert model.body.strides == strides


@pytest.mark.parametrize(("name", "least"), [("zfnet", 53), ("zfnet_mini", 21)])
def test_least_size(name, least):
    model = on_meta(ZFNet, VARIANTS[name])
    assert stages(model, least)[-1][1:] == (1, 1)
    with pytest.raises(SiseonError, match=f"{least} pixels"):
        stages(model, least - 1)
