"""VGG: table 1 and the famous table of its memory, every variant against torchvision."""

import pytest
import torch
import torch.nn.functional as F
from comparing import assert_agrees, filled, norm, on_meta, outputs, parameters, picture, stages, weight_and_bias
from torch import nn

from golden import Summary
from siseon.interface import SiseonError
from siseon.models.classification.vgg import DEPTHS, TORCHVISION_NAMES, VARIANTS, VGG, VGGBody

# What torchvision 0.28's `features` give for the tensors and the picture of 96 pixels of fill.py.
FEATURES = {
    "vgg11": Summary(
        (512, 3, 3),
        2.341468,
        2.718153,
        [3.021777, 3.576878, 3.414698, 0, 0, 0, 0, 0],
        [3.787109, 0.507073, 5.228466, 0.4082782, 0, 0.9904538, 0, 0],
    ),
    "vgg11_bn": Summary(
        (512, 3, 3),
        1.455383,
        1.661744,
        [2.367105, 2.012768, 3.621881, 1.858822, 1.415894, 3.258509, 1.989327, 0.854533],
        [1.723976, 2.019326, 0, 0.009346249, 5.112616, 0.2210498, 3.223019, 3.696376],
    ),
    "vgg13": Summary(
        (512, 3, 3),
        2.331702,
        2.725564,
        [5.668169, 0.3833745, 0.6427374, 2.642814, 2.2656, 0.2741664, 1.329148, 0],
        [0.8593049, 0.4851506, 2.103689, 4.272327, 5.595219, 2.415911, 5.203492, 5.254382],
    ),
    "vgg13_bn": Summary(
        (512, 3, 3),
        1.147549,
        1.391068,
        [1.865694, 1.153612, 0, 2.220327, 1.000201, 0, 1.584665, 1.723467],
        [0, 0.1054578, 0, 0.870029, 0.5925995, 1.766432, 1.908993, 1.826376],
    ),
    "vgg16": Summary(
        (512, 3, 3),
        2.029362,
        2.405566,
        [2.369595, 1.756718, 1.576745, 1.462434, 0.6013389, 1.948955, 0, 0],
        [6.308473, 2.751719, 4.129958, 5.095357, 3.816817, 1.825751, 2.693408, 1.858971],
    ),
    "vgg16_bn": Summary(
        (512, 3, 3),
        0.913388,
        1.013272,
        [0.2865988, 0.5263267, 0.8452626, 0.1045782, 0.2363151, 0.651016, 0.04217932, 0],
        [0.09821932, 0.9068863, 2.059212, 1.149869, 1.048967, 1.137796, 1.600697, 1.30885],
    ),
    "vgg19": Summary(
        (512, 3, 3),
        2.242836,
        2.503405,
        [0, 0, 0, 0, 0, 0, 0, 0],
        [1.378373, 0, 3.242161, 2.718334, 2.453164, 2.168242, 2.690681, 2.763508],
    ),
    "vgg19_bn": Summary(
        (512, 3, 3),
        0.6850412,
        0.7821361,
        [0, 0, 0, 0, 0, 0.3545197, 0, 0.4570803],
        [1.528767, 0.7875581, 0.1230657, 0.08786053, 0.3324623, 0, 0.1039838, 0.01249728],
    ),
}


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("vgg11", 132_863_336),
        ("vgg13", 133_047_848),
        ("vgg16", 138_357_544),
        ("vgg19", 143_667_240),
        ("vgg11_bn", 132_868_840),
        ("vgg13_bn", 133_053_736),
        ("vgg16_bn", 138_365_992),
        ("vgg19_bn", 143_678_248),
        ("vgg_mini", 170_682),
    ],
)
def test_parameters(name, count):
    assert parameters(on_meta(VGG, VARIANTS[name])) == count


@pytest.mark.parametrize(("name", "layers"), [("vgg11", 11), ("vgg13", 13), ("vgg16", 16), ("vgg19", 19)])
def test_layers_with_weights(name, layers):
    model = on_meta(VGG, VARIANTS[name])
    assert sum(isinstance(layer, nn.Conv2d | nn.Linear) for layer in model.modules()) == layers


@pytest.mark.parametrize(
    ("name", "activations", "weights"), [("vgg16", 15_237_608, 138_344_128), ("vgg19", 16_542_184, 143_652_544)]
)
def test_memory_and_weights_of_a_picture(name, activations, weights):
    # The picture and the outputs of convolutions, poolings and fully connected layers, rectifiers in place.
    model = on_meta(VGG, VARIANTS[name])
    counted = nn.Conv2d | nn.MaxPool2d | nn.Linear
    shapes = [shape for layer, shape in outputs(model, 224) if isinstance(layer, counted)]
    assert 3 * 224 * 224 + sum(torch.Size(shape).numel() for shape in shapes) == activations
    assert sum(layer.weight.numel() for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)) == weights


def test_sizes_of_vgg16():
    shapes = [shape for layer, shape in outputs(on_meta(VGG, VARIANTS["vgg16"]), 224) if isinstance(layer, nn.Conv2d)]
    assert shapes == [
        *[(64, 224, 224)] * 2,
        *[(128, 112, 112)] * 2,
        *[(256, 56, 56)] * 3,
        *[(512, 28, 28)] * 3,
        *[(512, 14, 14)] * 3,
    ]


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "vgg_mini"])
def test_stages(name):
    model = on_meta(VGG, VARIANTS[name])
    assert stages(model, 224) == [(256, 56, 56), (512, 28, 28), (512, 14, 14), (512, 7, 7)]
    assert (model.body.channels, model.body.strides) == ((256, 512, 512, 512), (4, 8, 16, 32))


def test_stages_of_the_mini():
    model = on_meta(VGG, VARIANTS["vgg_mini"])
    assert stages(model, 32) == [(32, 8, 8), (64, 4, 4), (64, 2, 2), (64, 1, 1)]


def test_the_stages_end_with_rectifiers_and_a_pooling():
    body = VGGBody(depths=DEPTHS["vgg16"], norm=True)
    kinds = [type(body.layers[str(end)]) for end in body.ends]
    assert kinds == [nn.ReLU, nn.ReLU, nn.ReLU, nn.MaxPool2d]


def feature_names(depths, normalised):
    """torchvision's names: layers are numbered, rectifiers and poolings included."""
    names, number = [], 0
    for depth in depths:
        for _ in range(depth):
            names += weight_and_bias(f"features.{number}")
            names += norm(f"features.{number + 1}") if normalised else []
            number += 3 if normalised else 2
        number += 1
    return names


@pytest.mark.parametrize("name", FEATURES)
@torch.inference_mode()
def test_gives_the_features_of_torchvision(name):
    depths = DEPTHS[name.removesuffix("_bn")]

    class Features(nn.Module):
        """A VGG without its 400 MB of fully connected layers."""

        def __init__(self):
            super().__init__()
            self.body = VGGBody(**VARIANTS[name])

    Features.__module__ = VGGBody.__module__
    model = filled(Features(), feature_names(depths, name.endswith("_bn")))
    assert_agrees(model.body.features(picture(96))[-1][0], FEATURES[name])


@pytest.mark.parametrize("name", FEATURES)
def test_has_all_names_of_torchvision(name):
    import re

    theirs = feature_names(DEPTHS[name.removesuffix("_bn")], name.endswith("_bn"))
    theirs += [name for number in (0, 3, 6) for name in weight_and_bias(f"classifier.{number}")]
    ours = set()
    for tensor in theirs:
        for old, new in TORCHVISION_NAMES:
            if re.fullmatch(old, tensor):
                tensor = re.sub(old, new, tensor)
                break
        ours.add(tensor)
    assert ours == set(on_meta(VGG, VARIANTS[name]).state_dict()) - {"mean", "deviation"}


@torch.inference_mode()
def test_the_fully_connected_layers_see_seven_by_seven_cells():
    model = VGG(depths=(1, 1, 1, 1, 1), widths=(2, 2, 2, 2, 4), hidden=6, classes=3).eval()
    pictures = torch.rand(2, 3, 224, 224)
    normalised = (pictures - model.mean.view(3, 1, 1)) / model.deviation.view(3, 1, 1)
    x = model.body.features(normalised)[-1].reshape(2, 4 * 7 * 7)
    first, second, last = (layer for layer in model.classifier if isinstance(layer, nn.Linear))
    torch.testing.assert_close(model(pictures), last(F.relu(second(F.relu(first(x))))))


@pytest.mark.parametrize("name", ["vgg16", "vgg19_bn", "vgg_mini"])
def test_least_size(name):
    model = on_meta(VGG, VARIANTS[name])
    assert stages(model, 32)[-1][1:] == (1, 1)
    with pytest.raises(SiseonError, match="32 pixels"):
        stages(model, 31)


def test_frozen_stages_do_not_learn():
    model = VGG(**{**VARIANTS["vgg_mini"], "norm": True}, frozen=1)
    model.loss(torch.rand(2, 3, 32, 32), torch.tensor([0, 1]))["class"].backward()
    learning = {
        int(name.split(".")[2])
        for name, tensor in model.named_parameters()
        if tensor.grad is not None and "layers" in name
    }
    assert min(learning) > model.body.ends[0]
