"""Plain networks: a ResNet less its shortcuts."""

import pytest
import torch
import torch.nn.functional as F
from comparing import on_meta, parameters, stages
from torch import nn

from siseon.layers import Residual
from siseon.models.classification.plain import VARIANTS, Plain, without_shortcuts
from siseon.models.classification.resnet import ResNet


@pytest.mark.parametrize(
    ("name", "twin", "count"), [("plain18", (2, 2, 2, 2), 11_515_688), ("plain34", (3, 4, 6, 3), 21_623_848)]
)
def test_has_the_parameters_of_its_twin_less_the_projections(name, twin, count):
    resnet = on_meta(ResNet, {"kind": "basic", "depths": twin})
    projections = sum(parameters(module.shortcut) for module in resnet.modules() if isinstance(module, Residual))
    assert parameters(on_meta(Plain, VARIANTS[name])) == count
    assert parameters(resnet) - projections == count


@pytest.mark.parametrize(("name", "layers"), [("plain18", 18), ("plain34", 34)])
def test_layers_with_weights(name, layers):
    model = on_meta(Plain, VARIANTS[name])
    assert sum(isinstance(layer, nn.Conv2d | nn.Linear) for layer in model.modules()) == layers


@pytest.mark.parametrize(
    ("name", "side", "wanted"),
    [
        ("plain34", 224, [(64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7)]),
        ("plain_mini", 32, [(16, 8, 8), (32, 4, 4), (64, 2, 2), (128, 1, 1)]),
    ],
)
def test_stages(name, side, wanted):
    model = on_meta(Plain, VARIANTS[name])
    assert stages(model, side) == wanted
    assert model.body.channels == tuple(stage[0] for stage in wanted)


@torch.inference_mode()
def test_a_block_is_the_rectified_branch():
    block = Residual(nn.Conv2d(2, 2, 3, padding=1), nn.Identity())
    network = nn.Sequential(nn.Sequential(block))
    x = torch.randn(1, 2, 4, 4)
    wanted = F.relu(block.branch(x))
    without_shortcuts(network)
    torch.testing.assert_close(network(x), wanted)


def test_no_shortcut_is_left():
    assert not any(isinstance(module, Residual) for module in on_meta(Plain, VARIANTS["plain34"]).modules())
