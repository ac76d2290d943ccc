"""DenseNet: tables 1 and 2, the layer against its equation, torchvision's numbers."""

import re

import pytest
import torch
import torch.nn.functional as F
from comparing import assert_agrees, filled, norm, on_meta, parameters, picture, stages, weight_and_bias

from golden import Summary
from siseon.interface import SiseonError
from siseon.models.classification.densenet import TORCHVISION_NAMES, VARIANTS, DenseLayer, DenseNet

# torchvision 0.28's densenet121 on the tensors and the picture of fill.py.
LOGITS_224 = Summary(
    (1000,),
    -0.01075248,
    0.8998832,
    [0.5434286, 0.4429962, -0.6723922, -0.01903270, 0.5524362, 0.4487722, 0.1231905, -0.4769433],
    [2.001148, 0.9867026, -0.7882735, 0.2937111, -1.543717, -0.4510597, -1.391166, -0.2544040],
)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("densenet121", 7_978_856),
        ("densenet161", 28_681_000),
        ("densenet169", 14_149_480),
        ("densenet201", 20_013_928),
        ("densenet_mini", 71_734),
    ],
)
def test_parameters(name, count):
    assert parameters(on_meta(DenseNet, VARIANTS[name])) == count


@pytest.mark.parametrize(
    ("name", "millions"),
    [("densenet_40_12", 1.0), ("densenet_bc_100_12", 0.8), ("densenet_bc_250_24", 15.3), ("densenet_bc_190_40", 25.6)],
)
def test_parameters_of_table_2(name, millions):
    assert round(parameters(on_meta(DenseNet, VARIANTS[name])) / 1e6, 1) == millions


@pytest.mark.parametrize(
    ("name", "wanted", "strides"),
    [
        ("densenet121", [(256, 56, 56), (512, 28, 28), (1024, 14, 14), (1024, 7, 7)], (4, 8, 16, 32)),
        ("densenet_bc_100_12", [(216, 32, 32), (300, 16, 16), (342, 8, 8)], (1, 2, 4)),
        ("densenet_mini", [(60, 16, 16), (66, 8, 8), (69, 4, 4)], (2, 4, 8)),
    ],
)
def test_stages(name, wanted, strides):
    model = on_meta(DenseNet, VARIANTS[name])
    assert stages(model, model.crop) == wanted
    assert model.body.channels == tuple(stage[0] for stage in wanted)
    assert model.body.strides == strides


@pytest.mark.parametrize("bottleneck", [True, False])
def test_a_layer_stacks_its_input_and_new_maps(bottleneck):
    layer = DenseLayer(5, 3, bottleneck=bottleneck, dropout=0.5).eval()
    x = torch.randn(2, 5, 4, 4)
    scale = (1 + 1e-5) ** -0.5  # what an untrained normalisation multiplies by
    new = x
    for part in layer.new:
        new = F.conv2d(F.relu(new * scale), part.conv.weight, padding=part.conv.kernel_size[0] // 2)
    wanted = torch.cat([x, new], 1)
    torch.testing.assert_close(layer(x), wanted)
    assert wanted.shape[1] == 8


def test_every_layer_sees_all_before_it():
    model = on_meta(DenseNet, VARIANTS["densenet_mini"])
    first = [layer.new[0].norm.num_features for layer in model.body.layers["1"]]
    assert first == [24, 36, 48]


def test_a_transition_keeps_half_of_the_channels():
    transition = on_meta(DenseNet, VARIANTS["densenet121"]).body.layers["2"]
    assert (transition.conv.in_channels, transition.conv.out_channels) == (256, 128)


def names(depths):
    found = ["features.conv0.weight", *norm("features.norm0")]
    for block, depth in enumerate(depths, 1):
        for layer in range(1, depth + 1):
            prefix = f"features.denseblock{block}.denselayer{layer}"
            for number in (1, 2):
                found += [*norm(f"{prefix}.norm{number}"), f"{prefix}.conv{number}.weight"]
        if block < len(depths):
            found += [*norm(f"features.transition{block}.norm"), f"features.transition{block}.conv.weight"]
    return [*found, *norm("features.norm5"), *weight_and_bias("classifier")]


@torch.inference_mode()
def test_gives_the_logits_of_torchvision():
    model = filled(DenseNet(**VARIANTS["densenet121"]), names((6, 12, 24, 16)))
    assert_agrees(model.logits(picture(224))[0], LOGITS_224)


@pytest.mark.parametrize("published", ["norm.1.running_mean", "conv.1.weight", "norm.2.bias", "conv.2.weight"])
def test_the_published_files_have_a_point_before_the_number(published):
    def ours(name):
        return next(re.sub(old, new, name) for old, new in TORCHVISION_NAMES if re.fullmatch(old, name))

    prefix = "features.denseblock3.denselayer17."
    without = published.replace(".", "", 1)
    assert ours(prefix + published) == ours(prefix + without)


@pytest.mark.parametrize(("name", "least"), [("densenet121", 29), ("densenet_bc_100_12", 4), ("densenet_mini", 7)])
def test_least_size(name, least):
    model = on_meta(DenseNet, VARIANTS[name])
    assert stages(model, least)[-1][1:] == (1, 1)
    with pytest.raises(SiseonError, match=f"{least} pixels"):
        stages(model, least - 1)


def test_every_weight_learns():
    model = DenseNet(**VARIANTS["densenet_mini"])
    model.loss(torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 3]))["class"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
