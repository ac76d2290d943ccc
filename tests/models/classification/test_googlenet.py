"""GoogLeNet: table 1, the auxiliary classifiers, torchvision's numbers with its slips."""

import pytest
import torch
import torch.nn.functional as F
from comparing import assert_agrees, filled, norm, on_meta, outputs, parameters, picture, stages, weight_and_bias
from torch import nn

import fill
from golden import Summary
from siseon.interface import SiseonError
from siseon.models.classification.googlenet import INCEPTIONS, LAYERS, VARIANTS, GoogLeNet

# torchvision 0.28's googlenet on the tensors and the pictures of fill.py.
LOGITS_224 = Summary(
    (1000,),
    0.0139416,
    2.258058,
    [0.2106858, 1.626245, -4.370769, 0.01903709, -1.247593, 0.8123113, 2.496426, 0.3776098],
    [3.628043, 3.166507, 0.9171693, -0.7868289, -1.435984, 0.2322867, -1.511881, -2.405133],
)
LOGITS_96 = Summary(
    (1000,),
    0.04684717,
    2.79642,
    [0.1935669, 2.795454, -4.726406, 0.1257339, -0.6243426, 0.4200523, 2.755559, 0.9057513],
    [4.953529, 3.502339, 0.9837509, -0.4158063, -1.465946, 0.5877303, -2.406307, -2.866517],
)
AUXILIARY_96 = {
    "4a": Summary(
        (1000,),
        -0.02077734,
        3.566489,
        [-3.783776, -1.710343, 3.307062, -3.272796, 3.075632, -4.202362, -4.756899, 6.955719],
        [7.238159, -8.249543, -1.322579, -1.28375, 0.1787719, -1.210807, 0.9756974, 1.427446],
    ),
    "4d": Summary(
        (1000,),
        -0.02792342,
        2.772672,
        [-4.74185, 3.24346, 0.9532509, -0.8238759, 5.43146, 3.225467, 0.9216233, -3.42485],
        [-2.823983, -0.2678367, 2.727222, -2.835802, 2.747947, -2.822234, 0.1406951, -3.379367],
    ),
}


@pytest.mark.parametrize(
    ("name", "changes", "count"),
    [
        ("googlenet", {}, 13_378_280),
        ("googlenet", {"auxiliary": False}, 6_998_552),
        ("googlenet_bn", {}, 6_624_904),
        ("googlenet_bn", {"auxiliary": True}, 13_004_888),
        ("googlenet_mini", {}, 166_936),
    ],
)
def test_parameters(name, changes, count):
    assert parameters(on_meta(GoogLeNet, {**VARIANTS[name], **changes})) == count


def test_parameters_of_each_module():
    # Table 1 rounds freely (159K, 380K, 364K, 437K, 463K, 580K, 840K, 1072K, 1388K); these follow from its channels.
    body = on_meta(GoogLeNet, {}).body
    assert [parameters(body.layers[str(number)]) for number in LAYERS.values()] == [
        *(163_696, 388_736, 376_176, 449_160, 510_104, 605_376, 868_352, 1_043_456, 1_444_080),
    ]


def test_weights_of_module_3a():
    layer = on_meta(GoogLeNet, {}).body.layers[str(LAYERS["3a"])]
    assert sum(part.weight.numel() for part in layer.modules() if isinstance(part, nn.Conv2d)) == 163_328


def test_has_22_layers_with_weights_in_a_row():
    model = on_meta(GoogLeNet, {"auxiliary": False})
    stem = 3
    assert stem + 2 * len(INCEPTIONS) + sum(isinstance(part, nn.Linear) for part in model.modules()) == 22


def test_sizes_of_table_1():
    model = on_meta(GoogLeNet, {})
    maps = model.body.outputs(torch.empty(1, 3, 224, 224, device="meta"))
    assert [tuple(layer.shape[1:]) for layer in maps] == [
        *((192, 56, 56), (192, 28, 28), (256, 28, 28), (480, 28, 28), (480, 14, 14)),
        *((512, 14, 14), (512, 14, 14), (512, 14, 14), (528, 14, 14), (832, 14, 14)),
        *((832, 7, 7), (832, 7, 7), (1024, 7, 7)),
    ]


def test_sizes_of_the_stem():
    shapes = [
        shape for layer, shape in outputs(on_meta(GoogLeNet, {}), 224) if isinstance(layer, nn.Conv2d | nn.MaxPool2d)
    ]
    assert shapes[:4] == [(64, 112, 112), (64, 56, 56), (64, 56, 56), (192, 56, 56)]


@pytest.mark.parametrize(
    ("name", "side", "wanted", "strides"),
    [
        ("googlenet", 224, [(192, 56, 56), (480, 28, 28), (832, 14, 14), (1024, 7, 7)], (4, 8, 16, 32)),
        ("googlenet_bn", 224, [(192, 56, 56), (480, 28, 28), (832, 14, 14), (1024, 7, 7)], (4, 8, 16, 32)),
        ("googlenet_mini", 32, [(24, 8, 8), (60, 4, 4), (104, 2, 2), (128, 1, 1)], (4, 8, 16, 32)),
    ],
)
def test_stages(name, side, wanted, strides):
    model = on_meta(GoogLeNet, VARIANTS[name])
    assert stages(model, side) == wanted
    assert (model.body.channels, model.body.strides) == (tuple(stage[0] for stage in wanted), strides)


def block(prefix):
    return [f"{prefix}.conv.weight", *norm(f"{prefix}.bn")]


def names():
    parts = [block(f"conv{number}") for number in (1, 2, 3)]
    for module in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        places = ("branch1", "branch2.0", "branch2.1", "branch3.0", "branch3.1", "branch4.1")
        parts += [block(f"inception{module}.{place}") for place in places]
    return [name for part in parts for name in part] + weight_and_bias("fc")


def auxiliary_names():
    heads = [
        block(f"aux{head}.conv") + weight_and_bias(f"aux{head}.fc1") + weight_and_bias(f"aux{head}.fc2")
        for head in (1, 2)
    ]
    return [name for head in heads for name in head]


@torch.inference_mode()
def test_gives_the_auxiliary_logits_of_torchvision():
    model = filled(GoogLeNet(norm=True, published=True), names() + auxiliary_names())
    maps = model.body.outputs(picture(96))
    assert_agrees(model.logits(picture(96))[0], LOGITS_96)
    for name, summary in AUXILIARY_96.items():
        assert_agrees(model.auxiliary[name](maps[LAYERS[name] - 1])[0], summary)


@pytest.mark.parametrize("published", [False, True])
def test_pixels_are_normalised_as_in_all_networks(published):
    model = GoogLeNet(width=0.125, classes=2, published=published)
    assert model.mean.tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert model.deviation.tolist() == pytest.approx([0.229, 0.224, 0.225])


@torch.inference_mode()
def test_the_whole_network_gives_the_logits_of_torchvision():
    model = filled(GoogLeNet(**VARIANTS["googlenet_bn"]), names())
    assert_agrees(model(fill.picture(224, 224)[None])[0], LOGITS_224)


@torch.inference_mode()
def test_a_module_stacks_four_branches():
    module = GoogLeNet(**VARIANTS["googlenet_mini"]).body.layers[str(LAYERS["3a"])]
    x = torch.randn(2, 24, 6, 5)

    def convolve(x, layer):
        return F.relu(F.conv2d(x, layer.weight, layer.bias, padding=layer.weight.shape[-1] // 2))

    one, three_reduced, three, five_reduced, five, pooled = (
        part for part in module.modules() if isinstance(part, nn.Conv2d)
    )
    assert [part.kernel_size[0] for part in (one, three_reduced, three, five_reduced, five, pooled)] == [
        1,
        1,
        3,
        1,
        5,
        1,
    ]
    branches = [
        convolve(x, one),
        convolve(convolve(x, three_reduced), three),
        convolve(convolve(x, five_reduced), five),
        convolve(F.max_pool2d(x, 3, 1, 1), pooled),
    ]
    torch.testing.assert_close(module(x), torch.cat(branches, 1))


def test_the_loss_counts_auxiliary_classifiers_at_three_tenths():
    model = GoogLeNet(**VARIANTS["googlenet_mini"]).eval()
    pictures, labels = torch.rand(3, 3, 32, 32), torch.tensor([1, 5, 9])
    normalised = (pictures - model.mean.view(3, 1, 1)) / model.deviation.view(3, 1, 1)
    maps = model.body.outputs(normalised)
    extra = sum(F.cross_entropy(model.auxiliary[name](maps[LAYERS[name] - 1]), labels) for name in ("4a", "4d"))
    losses = model.loss(pictures, labels)
    assert losses["auxiliary"].item() == pytest.approx(0.3 * extra.item(), rel=1e-5)
    assert losses["class"].item() == pytest.approx(F.cross_entropy(model(pictures), labels).item(), rel=1e-5)


def test_the_loss_takes_shares_of_classes():
    model = GoogLeNet(**VARIANTS["googlenet_mini"]).eval()
    pictures, labels = torch.rand(2, 3, 32, 32), torch.tensor([3, 4])
    shares = model.loss(pictures, F.one_hot(labels, 10).float())
    assert {key: value.item() for key, value in shares.items()} == pytest.approx(
        {key: value.item() for key, value in model.loss(pictures, labels).items()}
    )


def test_without_auxiliary_classifiers_there_is_one_loss():
    model = GoogLeNet(**{**VARIANTS["googlenet_mini"], "auxiliary": False})
    assert set(model.loss(torch.rand(2, 3, 32, 32), torch.tensor([0, 1]))) == {"class"}


@pytest.mark.parametrize("changes", [{}, {"norm": True}])
def test_gradients_reach_every_parameter(changes):
    model = GoogLeNet(**VARIANTS["googlenet_mini"], **changes)
    sum(model.loss(torch.rand(8, 3, 32, 32), torch.arange(8)).values()).backward()
    assert [name for name, tensor in model.named_parameters() if tensor.grad is None] == []


@pytest.mark.parametrize(("arguments", "least"), [({}, 31), ({"published": True}, 15), ({"norm": True}, 31)])
def test_least_size(arguments, least):
    model = on_meta(GoogLeNet, arguments)
    assert stages(model, least)[-1][1:] == (1, 1)
    with pytest.raises(SiseonError, match=f"{least} pixels"):
        stages(model, least - 1)
