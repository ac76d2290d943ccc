"""EfficientNet: the compound rule, the counts of B0 .. B7, the block, torchvision's numbers."""

import pytest
import torch
from comparing import assert_agrees, filled, norm, on_meta, parameters, picture, stages, weight_and_bias

from golden import Summary
from siseon.layers import StochasticDepth
from siseon.models.classification.efficientnet import (
    COEFFICIENTS,
    RATES,
    STAGES,
    VARIANTS,
    EfficientNet,
    EfficientNetBody,
    MBConv,
    compound,
    repeated,
)

# torchvision 0.28's networks on the tensors and the picture of fill.py.
LOGITS_224 = Summary(
    (1000,),
    -0.001280315,
    0.1065009,
    [-0.03903524, 0.1116704, -0.07496058, 0.05091575, 0.004081270, 0.001247030, 0.03764385, -0.1539602],
    [0.01583209, -0.1024943, -0.08449984, -0.04299237, -0.08315411, 0.03766899, 0.03397072, -0.09848145],
)
LOGITS_B5_64 = Summary(
    (1000,),
    -0.002790256,
    0.1433964,
    [-0.0633441, 0.0839767, 0.08195387, -0.2811424, -0.05086461, 0.2921896, 0.01619335, -0.1773906],
    [0.03631195, 0.09056169, -0.07189194, -0.03066852, -0.08367572, -0.2319733, -0.08001141, 0.01167713],
)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("efficientnet_b0", 5_288_548),
        ("efficientnet_b1", 7_794_184),
        ("efficientnet_b2", 9_109_994),
        ("efficientnet_b3", 12_233_232),
        ("efficientnet_b4", 19_341_616),
        ("efficientnet_b5", 30_389_784),
        ("efficientnet_b6", 43_040_704),
        ("efficientnet_b7", 66_347_960),
        ("efficientnet_mini", 423_098),
    ],
)
def test_parameters(name, count):
    assert parameters(on_meta(EfficientNet, VARIANTS[name])) == count


@pytest.mark.parametrize(
    ("name", "wanted", "strides"),
    [
        ("efficientnet_b0", [(24, 56, 56), (40, 28, 28), (112, 14, 14), (320, 7, 7)], (4, 8, 16, 32)),
        ("efficientnet_mini", [(16, 16, 16), (24, 8, 8), (56, 4, 4), (160, 2, 2)], (2, 4, 8, 16)),
    ],
)
def test_stages(name, wanted, strides):
    model = on_meta(EfficientNet, VARIANTS[name])
    assert stages(model, model.crop) == wanted
    assert model.body.channels == tuple(stage[0] for stage in wanted)
    assert model.body.strides == strides


@pytest.mark.parametrize(
    ("phi", "cost"), [(0, 1), (1, 1.92), (2, 3.69), (3, 7.08), (4, 13.6), (5, 26.1), (6, 50.1), (7, 96.3)]
)
def test_the_cost_grows_by_1_92_for_each_phi(phi, cost):
    depth, width, resolution = compound(phi)
    assert depth * width**2 * resolution**2 == pytest.approx(cost, rel=2e-3)


@pytest.mark.parametrize("rate", RATES)
def test_no_rate_shrinks_the_network(rate):
    assert rate >= 1


def test_the_released_networks_are_near_the_rule():
    # B2, B3 and B4 are phi = 1, 2 and 3 in depth, but for rounding by hand
    found = [COEFFICIENTS[name][0] for name in ("efficientnet_b2", "efficientnet_b3", "efficientnet_b4")]
    assert found == pytest.approx([compound(phi).depth for phi in (1, 2, 3)], rel=0.05)


@pytest.mark.parametrize(("blocks", "depth", "wanted"), [(1, 1.0, 1), (2, 1.1, 3), (4, 3.1, 13), (3, 0.25, 1)])
def test_blocks_are_rounded_up(blocks, depth, wanted):
    assert repeated(blocks, depth) == wanted


def test_later_blocks_are_dropped_more():
    body = on_meta(EfficientNetBody, {})
    shares = [part.share for part in body.modules() if isinstance(part, StochasticDepth)]
    assert shares == pytest.approx([0.2 * number / 16 for number in range(16)])


@pytest.mark.parametrize(("channels", "stride", "adds"), [(24, 1, True), (24, 2, False), (16, 1, False)])
def test_a_block_adds_its_input_where_the_shape_is_kept(channels, stride, adds):
    block = MBConv(channels, STAGES[1], stride=stride, dropped=0.0, padding="symmetric").eval()
    x = torch.randn(1, channels, 8, 8)
    branch = block.branch(x)
    torch.testing.assert_close(block(x), x + branch if adds else branch)


def test_squeezing_is_measured_by_what_enters_the_block():
    block = MBConv(24, STAGES[2], stride=2, dropped=0.0, padding="symmetric")
    weigh = block.branch[2]
    assert (weigh.squeeze.in_channels, weigh.squeeze.out_channels) == (144, 6)


def test_padding_of_tensorflow_shares_the_tensors():
    one, two = EfficientNetBody(depth=0.25, width=0.5), EfficientNetBody(depth=0.25, width=0.5, padding="tensorflow")
    two.load_state_dict(one.state_dict())
    odd, even = torch.rand(1, 3, 33, 33), torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(one.eval().features(odd)[0], two.eval().features(odd)[0])
    assert not torch.allclose(one.features(even)[0], two.features(even)[0])


def names(blocks):
    found = ["features.0.0.weight", *norm("features.0.1")]
    for stage, depth in enumerate(blocks, 1):
        for block in range(depth):
            prefix = f"features.{stage}.{block}.block"
            weigh = 1 if stage == 1 else 2
            for part in range(weigh):
                found += [f"{prefix}.{part}.0.weight", *norm(f"{prefix}.{part}.1")]
            found += weight_and_bias(f"{prefix}.{weigh}.fc1") + weight_and_bias(f"{prefix}.{weigh}.fc2")
            found += [f"{prefix}.{weigh + 1}.0.weight", *norm(f"{prefix}.{weigh + 1}.1")]
    return [*found, "features.8.0.weight", *norm("features.8.1"), *weight_and_bias("classifier.1")]


@pytest.mark.parametrize(
    ("name", "blocks", "side", "logits"),
    [
        ("efficientnet_b0", (1, 2, 2, 3, 3, 4, 1), 224, LOGITS_224),
        ("efficientnet_b5", (3, 5, 5, 7, 7, 9, 3), 64, LOGITS_B5_64),
    ],
)
@torch.inference_mode()
def test_gives_the_logits_of_torchvision(name, blocks, side, logits):
    model = filled(EfficientNet(**VARIANTS[name]), names(blocks))
    assert_agrees(model.logits(picture(side))[0], logits)


def test_every_weight_learns():
    model = EfficientNet(**VARIANTS["efficientnet_mini"])
    model.loss(torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 3]))["class"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_picture_of_one_pixel_is_large_enough():
    assert EfficientNet(**VARIANTS["efficientnet_mini"]).eval()(torch.rand(1, 3, 1, 1)).isfinite().all()


def test_pictures_are_scaled_bicubically():
    edge = torch.zeros(3, 64, 64)
    edge[:, :, 32:] = 1
    model = EfficientNet(**{**VARIANTS["efficientnet_mini"], "resize": 20, "crop": 20})
    bicubic = model._prepared(edge)
    assert bicubic.min() >= 0 and bicubic.max() <= 1
    model.interpolation = "bilinear"
    assert (bicubic - model._prepared(edge)).abs().max() > 0.02
